# SPDX-License-Identifier: Apache-2.0
"""Cgroups created since the last reading, as reported by the kernel (bpf/new_cgroups.c).

Walking the directories finds only those that exist at that time: a container that lives for less than an interval would
stay unknown, with all its counts. Watching the directories (inotify) does not help either: a directory may be created
inside a new one before that is watched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ebpf_sidecar.receivers.ebpf.maps.layout import Keys, Values

NEW_CGROUPS = "new_cgroups"
"""The name of the C map, of the file that fills it, and of the drop reason when it was full."""
OF_IO = 1 << 63
"""Marks an id of io's own hierarchy, see io_cgroups.py: a bit that no inode number has."""


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
    """Takes them out of the kernel's map, each once. ``map``: None if the kernel does not report them."""

    map: CgroupMap | None = None
    _own: list[NewCgroup] = field(default_factory=list)
    _of_io: list[NewCgroup] = field(default_factory=list)

    def take(self) -> list[NewCgroup]:
        """The new cgroups of the rows' hierarchy since the last call, parents before children. Raises `ProbeError`."""
        self._empty()
        taken, self._own = self._own, []
        return taken

    def take_of_io(self) -> list[NewCgroup]:
        """The same for io's hierarchy, if that is a different one."""
        self._empty()
        taken, self._of_io = self._of_io, []
        return taken

    def _empty(self) -> None:
        if self.map is None:
            return
        keys, values = self.map.read()
        if not len(keys):
            return
        self.map.delete(keys)  # nothing is lost: entries never change once added
        names = [row.tobytes().partition(b"\0")[0] for row in values[:, 1:]]
        made = zip(keys["key"].tolist(), values[:, 0].tolist(), names, strict=True)
        for identity, parent, name in sorted(made):
            of_io = identity & OF_IO
            (self._of_io if of_io else self._own).append(NewCgroup(identity & ~OF_IO, parent & ~OF_IO, name))
