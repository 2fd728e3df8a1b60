# SPDX-License-Identifier: Apache-2.0
"""Concatenates the C files of all probes into the one text that BCC compiles.

BCC rewrites map accesses only in the text it is given, not in included files, so our own headers are inlined here.
``#line`` keeps the compiler's messages pointing to the files, also after the structs that BCC inserts before tracepoint
programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_INCLUDE = re.compile(r'#include "([\w./-]+)"\s*(?:/\*.*\*/|//.*)?\s*')
_TRACEPOINT_PROGRAM = re.compile(r"int \w+\(struct tracepoint__\w+ \*\w+\)")
_LARGEST = 4 << 20
_LICENSE = "#define BPF_LICENSE Dual BSD/GPL"


def assemble(files: Iterable[Path], shared: Path | None = None) -> str:
    """The text of ``files`` in this order, including each file and each quoted header once.

    ``shared``: the folder of headers that are not next to the including file, for third-party probes. Raises `OSError`
    for a missing file, and ValueError for one that cannot be part of a probe.
    """
    seen: set[Path] = set()
    lines = [line for path in files for line in _lines(path, shared, seen)]
    return "\n".join([_LICENSE, *lines, ""])


def _lines(path: Path, shared: Path | None, seen: set[Path]) -> list[str]:
    path = path.resolve()
    if path in seen:
        return []
    seen.add(path)
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise ValueError(f"{path}: is not a file of at most {_LARGEST >> 20} MiB; include headers only")
    lines = [f'#line 1 "{path.name}"']
    before = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        include = _INCLUDE.fullmatch(line)
        lines += _lines(_header(path.parent, include[1], shared), shared, seen) if include else [line]
        if include or (line == "{" and _TRACEPOINT_PROGRAM.fullmatch(before)):
            lines.append(f'#line {number + 1} "{path.name}"')
        before = line
    return lines


def _header(folder: Path, name: str, shared: Path | None) -> Path:
    if name.startswith("/") or ".." in Path(name).parts:
        raise ValueError(f'#include "{name}": is not in the folder of the probe; put the header next to it')
    beside = folder / name
    return shared / name if shared is not None and not beside.exists() else beside
