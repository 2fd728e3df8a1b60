# SPDX-License-Identifier: Apache-2.0
"""Which files a command reads when it is asked to read a configuration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .sources import Inline, Source

_PACKAGE = Path(__file__).parent.parent
DEFAULT = _PACKAGE / "configs" / "default.yaml"
"""The packaged configuration that runs when no file is given."""
REPLAY = _PACKAGE / "configs" / "replay.yaml"
"""The packaged configuration that plays a recording, for where eBPF cannot be used."""


def sources(files: Sequence[Path]) -> list[Source]:
    """The files as sources: ``-`` is standard input, and no file at all is the packaged configuration."""
    return [Inline(sys.stdin.buffer.read()) if str(file) == "-" else file for file in files] or [DEFAULT]
