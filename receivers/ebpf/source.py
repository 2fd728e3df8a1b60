# SPDX-License-Identifier: Apache-2.0
"""Puts the C files of all probes together to the one text that BCC compiles.

BCC rewrites map accesses only in the text it is given, not in files that this includes, so our own headers are put
in place here; ``#line`` keeps the compiler's messages pointing to the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_INCLUDE = re.compile(r'^#include "([\w./-]+)"$', re.MULTILINE)
_LICENSE = "#define BPF_LICENSE Dual BSD/GPL\n"


def assemble(files: Iterable[Path]) -> str:
    """The text of ``files`` in this order, each file and each header that they include in quotes once.

    Raises `OSError` for a file that is not there.
    """
    seen: set[Path] = set()
    return _LICENSE + "".join(_text(path, seen) for path in files)


def _text(path: Path, seen: set[Path]) -> str:
    path = path.resolve()
    if path in seen:
        return ""
    seen.add(path)
    text = path.read_text(encoding="utf-8")

    def included(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 2
        return f'{_text(path.parent / match[1], seen)}#line {line} "{path.name}"'

    return f'#line 1 "{path.name}"\n{_INCLUDE.sub(included, text)}\n'
