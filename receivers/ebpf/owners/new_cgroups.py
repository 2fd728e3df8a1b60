# SPDX-License-Identifier: Apache-2.0
"""Cgroups that were made since the last look, as the kernel tells it (bpf/new_cgroups.c).

Walking the directories finds only what lives at that moment: a container that lives shorter than an interval between
two readings would stay unknown, with all that was counted for it. Watching the directories (inotify) is no way either:
a directory that is made inside a new one may be there before the new one is watched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ebpf_sidecar.receivers.ebpf.maps.layout import Keys, Values

NEW_CGROUPS = "new_cgroups"
"""The map in C, the file that fills it, and the reason of those for which it had no room."""
OF_IO = 1 << 63
"""Marks a number that is of io's own hierarchy, see io_cgroups.py: a bit that no number of a directory has."""


@dataclass(frozen=True, slots=True)
class NewCgroup:
    """A cgroup by its kernel id, with its parent's id and its own name, in bytes as the kernel has it."""

    id: int
    parent: int
    name: bytes


class CgroupMap(Protocol):
    """What is needed of a kernel map (see kernel_map.KernelMap)."""

    def read(self) -> tuple[Keys, Values]:
        """All entries: keys (n,) and values (n, 33)."""
        ...

    def delete(self, keys: Keys) -> None:
        """Remove entries."""
        ...


@dataclass(slots=True)
class NewCgroups:
    """Takes them out of the kernel's map, each once. ``map``: None where the kernel does not tell."""

    map: CgroupMap | None = None
    _own: list[NewCgroup] = field(default_factory=list)
    _of_io: list[NewCgroup] = field(default_factory=list)

    def take(self) -> list[NewCgroup]:
        """Those of the rows' hierarchy made since the last time, parents before children. Raises `ProbeError`."""
        self._empty()
        taken, self._own = self._own, []
        return taken

    def take_of_io(self) -> list[NewCgroup]:
        """The same of io's, where that is another one."""
        self._empty()
        taken, self._of_io = self._of_io, []
        return taken

    def _empty(self) -> None:
        if self.map is None:
            return
        keys, values = self.map.read()
        if not len(keys):
            return
        self.map.delete(keys)  # nothing is lost by it: no entry changes once it is there
        names = [row.tobytes().partition(b"\0")[0] for row in values[:, 1:]]
        made = zip(keys["key"].tolist(), values[:, 0].tolist(), names, strict=True)
        for identity, parent, name in sorted(made):
            of_io = identity & OF_IO
            (self._of_io if of_io else self._own).append(NewCgroup(identity & ~OF_IO, parent & ~OF_IO, name))
