# SPDX-License-Identifier: Apache-2.0
"""The import path of this process and of every Python that it starts: never the current folder.

Anyone who can write to that folder could otherwise run code with our privileges (CWE-427).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path


def safe_import_path(path: Sequence[str] | None = None) -> list[str]:
    """``path`` (default: ours) without the current folder, unless this package was imported from it."""
    top = str(Path(sys.modules[__name__.partition(".")[0]].__file__ or "").parent.parent)
    try:
        here = os.path.realpath(Path.cwd())
    except OSError:  # it was removed
        here = ""
    kept = [each for each in (sys.path if path is None else path) if each == top or _is_elsewhere(each, here)]
    return kept if top in kept else [top, *kept]


def _is_elsewhere(entry: str, here: str) -> bool:
    return Path(entry).is_absolute() and os.path.realpath(entry) != here
