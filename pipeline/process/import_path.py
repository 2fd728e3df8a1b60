# SPDX-License-Identifier: Apache-2.0
"""Where this process, and every Python that it starts, may import from: never from the folder it happens to be in.

Whoever may write to that folder would otherwise run code with our rights (CWE-427).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path


def safe_import_path(path: Sequence[str] | None = None) -> list[str]:
    """``path`` (by default ours) without the current folder, unless this very package was imported from it."""
    top = str(Path(sys.modules[__name__.partition(".")[0]].__file__ or "").parent.parent)
    try:
        here = os.path.realpath(Path.cwd())
    except OSError:  # it was removed
        here = ""
    kept = [each for each in (sys.path if path is None else path) if each == top or _is_elsewhere(each, here)]
    return kept if top in kept else [top, *kept]


def _is_elsewhere(entry: str, here: str) -> bool:
    return Path(entry).is_absolute() and os.path.realpath(entry) != here
