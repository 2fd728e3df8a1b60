# SPDX-License-Identifier: Apache-2.0
"""System call numbers and names, which differ by architecture (fadvise64 is 221 on x86-64 and 223 on arm64)."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "syscalls"
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class SyscallTable:
    """The calls of one machine type: ``numbers`` by name and ``names`` by number."""

    machine: str
    numbers: Mapping[str, int]
    names: Mapping[int, str]


@cache
def syscall_table(machine: str = "") -> SyscallTable:
    """The table of ``machine`` (as reported by uname), by default this one's. Raises `KeyError` if there is none."""
    wanted = machine or platform.machine()
    wanted = _SAME.get(wanted, wanted)
    path = _FOLDER / f"{wanted}.txt"
    if not path.exists():
        raise KeyError(wanted)
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines() if line[:1].isdigit()]
    names = {int(number): name for number, name in rows}
    return SyscallTable(wanted, {name: number for number, name in names.items()}, names)


@cache
def known_syscalls() -> frozenset[str]:
    """The names of all calls of all machine types: naming one that this machine lacks is not a mistake."""
    return frozenset(name for path in _FOLDER.glob("*.txt") for name in syscall_table(path.stem).numbers)
