# SPDX-License-Identifier: Apache-2.0
"""Full names of executables whose command name the kernel cut.

The kernel keeps 15 bytes of a command's name (TASK_COMM_LEN, 16 with its end). A name of exactly 15 bytes was probably
longer; a live process of that name in the same cgroup tells: by the target of ``/proc/<pid>/exe``, or, where that may
not be read or is an interpreter, by its command line. A name is only ever completed, never replaced: threads and
programs that name themselves keep the name that they chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ..pipeline.clock import Clock
from ..pipeline.rows import RowSet, Text
from ..receivers.ebpf.cgroup_path import cgroup_paths, container_of

COMM_BYTES = 15
REMEMBERED = 8192
RETRY_SECONDS = 60.0
_EXECUTABLE, _CGROUP = "process.executable.name", "process.linux.cgroup"

Key = tuple[str, str]
"""Command name as the kernel gave it, and cgroup path as in the rows (empty: unknown)."""


class ExecutableNames:
    """Completes cut names, and remembers them, so that rows of processes that ended keep theirs.

    Reads /proc (``proc``) only for names that are cut and not known yet, all of them in one pass, and again for those
    that were not found a minute later at the soonest. Of `REMEMBERED` names and more, the longest unused are forgotten.
    ``ask``: tells a process's executable where we may not look.
    """

    def __init__(self, proc: Path, clock: Clock, ask: Callable[[int], str] | None = None) -> None:
        self._proc = proc
        self._ask = ask
        self._clock = clock
        self._known: dict[Key, str] = {}
        self._missed: dict[Key, float] = {}

    def complete(self, rows: RowSet) -> RowSet:
        """The rows with ``process.executable.name`` completed; ``rows`` itself where nothing can be completed."""
        names, cgroups = rows.columns.get(_EXECUTABLE), rows.columns.get(_CGROUP)
        if not isinstance(names, Text) or not any(map(_may_be_cut, names.words)):
            return rows
        keys, where = _distinct(names, cgroups if isinstance(cgroups, Text) else Text.constant("", len(rows)))
        full = self._full_names([key for key in keys if _may_be_cut(key[0])])
        if not any(full.values()):
            return rows
        column = Text.of(full.get(key) or key[0] for key in keys)
        return rows.with_columns(**{_EXECUTABLE: Text(column.codes[where], column.words)})

    def _full_names(self, keys: Sequence[Key]) -> dict[Key, str]:
        now = self._clock.monotonic()
        unknown = [key for key in keys if key not in self._known and now >= self._missed.get(key, now)]
        if unknown:
            found = _search(self._proc, unknown, self._ask)
            self._known |= found
            self._missed |= {key: now + RETRY_SECONDS for key in unknown if key not in found}
        full = {key: self._known.pop(key, "") for key in keys}
        self._known |= {key: name for key, name in full.items() if name}  # behind all others: used last
        for memory in (self._known, self._missed):
            for key in list(memory)[: max(0, len(memory) - max(REMEMBERED, len(keys)))]:
                del memory[key]
        return full


def _may_be_cut(name: str) -> bool:
    """True for 15 bytes, and where the cut went through a character, of which the receiver made a replacement mark."""
    return name.endswith("\ufffd") or len(name.encode("utf-8", "replace")) == COMM_BYTES


def _distinct(names: Text, cgroups: Text) -> tuple[list[Key], NDArray[np.intp]]:
    """The different keys among rows, and for each row the position of its key."""
    combined = names.codes.astype(np.int64) * len(cgroups.words) + cgroups.codes
    distinct, where = np.unique(combined, return_inverse=True)
    pairs = zip(*(part.tolist() for part in np.divmod(distinct, max(1, len(cgroups.words)))), strict=True)
    return [(names.words[name], cgroups.words[cgroup]) for name, cgroup in pairs], where


def _search(proc: Path, keys: Sequence[Key], ask: Callable[[int], str] | None) -> dict[Key, str]:
    """Full names by key, from one pass over all processes; a key that stands for several names is left out."""
    found: dict[Key, set[str]] = {key: set() for key in keys}
    by_name: dict[str, list[Key]] = {}
    for key in keys:
        by_name.setdefault(key[0], []).append(key)
    for process in _processes(proc):
        wanted = by_name.get(_text(process / "comm").removesuffix("\n"), ())
        places = _places(process) if wanted else set()
        for key in wanted:
            if not key[1] or _identity(key[1]) in places:
                found[key].add(_full_name(process, key[0], ask))
    return {key: name for key, names in found.items() if len(names - {""}) == 1 for name in names - {""}}


def _processes(proc: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in proc.iterdir() if entry.name.isdecimal())
    except OSError:
        return  # no /proc: names stay as they are


def _places(process: Path) -> set[str]:
    """Where the process is, in each of the hierarchies: the rows' path is of one of them."""
    return {_identity(path) for path in cgroup_paths(_text(process / "cgroup")).values()}


def _identity(cgroup: str) -> str:
    """What a path and another view of the same place (from inside a cgroup namespace) have in common."""
    container = container_of(cgroup)
    return container.id if container else cgroup


def _full_name(process: Path, name: str, ask: Callable[[int], str] | None) -> str:
    """The name that begins with ``name`` among the executable's and the command line's first words; empty if none."""
    begins = name.rstrip("\ufffd")
    candidates = (PurePosixPath(path).name for path in _paths(process, ask))
    # white space: a title that the process wrote over its command line, not a file's name
    return next((full for full in candidates if full.startswith(begins) and not set(full) & set(" \t\n")), "")


def _paths(process: Path, ask: Callable[[int], str] | None) -> Iterator[str]:
    with suppress(OSError):  # a kernel thread, or nobody may look
        yield _executable(process, ask).removesuffix(" (deleted)")
    # a script's name is the second word, after its interpreter's
    yield from _text(process / "cmdline").split("\0")[:2]


def _executable(process: Path, ask: Callable[[int], str] | None) -> str:
    try:
        return str((process / "exe").readlink())
    except PermissionError:
        if ask is None:
            raise
        return ask(int(process.name))


def _text(file: Path) -> str:
    """The text of a file of /proc; empty when the process is gone or not ours to look at."""
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
