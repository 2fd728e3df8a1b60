# SPDX-License-Identifier: Apache-2.0
"""Puts the C files of all probes together to the one text that BCC compiles.

BCC rewrites map accesses only in the text it is given, not in files that this includes, so our own headers are put
in place here. ``#line`` keeps the compiler's messages pointing to the files, also behind the structs that BCC writes
before programs of tracepoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_INCLUDE = re.compile(r'#include "([\w./-]+)"')
_TRACEPOINT_PROGRAM = re.compile(r"int \w+\(struct tracepoint__\w+ \*\w+\)")
_LICENSE = "#define BPF_LICENSE Dual BSD/GPL"


def assemble(files: Iterable[Path]) -> str:
    """The text of ``files`` in this order, each file and each header that they include in quotes once.

    Raises `OSError` for a file that is not there.
    """
    seen: set[Path] = set()
    lines = [line for path in files for line in _lines(path, seen)]
    return "\n".join([_LICENSE, *lines, ""])


def _lines(path: Path, seen: set[Path]) -> list[str]:
    path = path.resolve()
    if path in seen:
        return []
    seen.add(path)
    lines = [f'#line 1 "{path.name}"']
    before = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        include = _INCLUDE.fullmatch(line)
        lines += _lines(path.parent / include[1], seen) if include else [line]
        if include or (line == "{" and _TRACEPOINT_PROGRAM.fullmatch(before)):
            lines.append(f'#line {number + 1} "{path.name}"')
        before = line
    return lines
