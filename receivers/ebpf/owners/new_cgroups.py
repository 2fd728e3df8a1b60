# SPDX-License-Identifier: Apache-2.0
"""Cgroups that were made since the last look, as the kernel tells it (bpf/new_cgroups.c).

Walking the directories finds only what lives at that moment: a container that lives shorter than an interval between
two readings would stay unknown, with all that was counted for it. Watching the directories (inotify) is no way either:
a directory that is made inside a new one may be there before the new one is watched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest, Way
from ebpf_sidecar.receivers.ebpf.maps.layout import Keys, Values
from ebpf_sidecar.receivers.ebpf.probe.model import MapSpec

NEW_CGROUPS = "new_cgroups"
"""The map in C, the file that fills it, and the reason of those for which it had no room."""
CGROUP_MADE = "cgroup_made"
"""The program."""
OF_IO = 1 << 63
"""Marks a number that is of io's own hierarchy, see io_cgroups.py: a bit that no number of a directory has."""
MAP = MapSpec(NEW_CGROUPS, NEW_CGROUPS, 1024, "one entry per cgroup made since the last reading", key=8, value=264)
_FIELDS = (
    "cgroup.kn",
    "cgroup.root",
    "cgroup.self",
    "cgroup_root.hierarchy_id",
    "cgroup_subsys_state.cgroup",
    "cgroup_subsys_state.parent",
    "kernfs_node.id",
    "kernfs_node.name",
)
BTF = ("io_cgrp_id",)
"""What is used where it is there."""
HOOK = HookRequest(
    "", "cgroup_made", (Way("raw_tracepoint", "cgroup:cgroup_mkdir", CGROUP_MADE, _FIELDS, arguments=("cgroup",)),)
)


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
