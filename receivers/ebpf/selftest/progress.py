# SPDX-License-Identifier: Apache-2.0
"""Shows progress: one line that changes on a terminal, plain lines elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

_CLEAR = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """Writes progress to ``stream``."""

    stream: TextIO

    def __call__(self, done: int, steps: int, text: str) -> None:
        """Show what is being done; without a text, that everything is done."""
        if self.stream.isatty():
            self.stream.write(f"{_CLEAR}[{done + 1}/{steps}] {text}" if text else _CLEAR)
        elif text:
            self.stream.write(f"[{done + 1}/{steps}] {text}\n")
        self.stream.flush()
