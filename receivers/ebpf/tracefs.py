# SPDX-License-Identifier: Apache-2.0
"""The kernel's own description of its tracepoints: which exist and which fields they have."""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
MOUNT_COMMAND = "mount -t tracefs tracefs /sys/kernel/tracing"
_FIELD = re.compile(r"^\s*field:.*?(\w+)(?:\[[^\]]*\])?;", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tracefs:
    """A mounted tracefs."""

    root: Path

    def has(self, event: str) -> bool:
        """Whether the kernel has the tracepoint ``category:name``."""
        return self._format(event).exists()

    def fields(self, event: str) -> tuple[str, ...]:
        """The fields of the tracepoint, those common to all left out. Raises `OSError` when there is no such event."""
        found = _FIELD.findall(self._format(event).read_text(encoding="ascii", errors="replace"))
        return tuple(name for name in found if not name.startswith("common_"))

    def _format(self, event: str) -> Path:
        category, _, name = event.partition(":")
        return self.root / "events" / category / name / "format"


def find_tracefs(places: tuple[Path, ...] = PLACES) -> Tracefs | None:
    """The first of ``places`` where tracefs is mounted and readable."""
    for place in places:
        # not access(2): to other users than root it answers as if they had no capabilities
        with suppress(OSError), os.scandir(place / "events"):
            return Tracefs(place)
    return None


def mount_tracefs(place: Path = PLACES[0]) -> None:
    """Mount tracefs. Raises `OSError` when that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tracefs", os.fsencode(place), b"tracefs", 0, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))
