# SPDX-License-Identifier: Apache-2.0
"""Attributes kernel entries to owners: from cgroup id, process id and command name to the parts of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ebpf_sidecar.pipeline.container_path import container_directory
from ebpf_sidecar.receivers.ebpf.maps.layout import COMM_BYTES, Keys
from ebpf_sidecar.receivers.ebpf.maps.row_totals import Group

from .cgroup_tree import decoded
from .io_cgroups import CgroupPaths
from .new_names import NewName
from .program_names import Place, ProgramNames


class GroupBy(StrEnum):
    """What rows are grouped by."""

    CONTAINER = "container"
    CGROUP = "cgroup"
    EXECUTABLE = "executable"
    PID = "pid"


ATTRIBUTES: Mapping[GroupBy, str] = {
    GroupBy.CONTAINER: "process.linux.cgroup",
    GroupBy.CGROUP: "process.linux.cgroup",
    GroupBy.EXECUTABLE: "process.executable.name",
    GroupBy.PID: "process.pid",
}
"""The OpenTelemetry attribute that each part of a row becomes."""

MAX_ASKED = 1024
"""How many ids are remembered that walking the tree did not find; a further walk may add more."""
_NO_CGROUP = 0
"""An id that no cgroup has: its place stands for all unknown cgroups."""


@dataclass
class Attribution:
    """Turns keys into the owner's parts of their groups, in the order of ``group_by``.

    ``restricted``: whether only targets are measured; entries without a cgroup are then left out. ``names``: full names
    of programs whose names the kernel truncated.
    """

    tree: CgroupPaths
    group_by: Sequence[GroupBy]
    restricted: bool = False
    names: ProgramNames = field(default_factory=ProgramNames)
    _asked: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._readers: list[Callable[[Any], str | int]] = [self._reader(part) for part in self.group_by]
        elsewhere = [part for part in self.group_by if part is not GroupBy.EXECUTABLE]
        self._places = [self._reader(part) for part in elsewhere]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attribute names of the parts."""
        return tuple(ATTRIBUTES[part] for part in self.group_by)

    def owners(self, keys: Keys) -> list[Group | None]:
        """The owner's part of each key's group, None for keys that are left out; an unknown cgroup is empty text."""
        self._learn(set(keys["cgroup"].tolist()))
        columns = [keys[name].tolist() for name in ("cgroup", "tgid", "comm")]
        return [self._owner(owner) for owner in zip(*columns, strict=True)]

    def version(self) -> int:
        """Changes when keys looked up before may have other owners now. Raises `ProbeError`.

        Call it after the keys were read: a process counted in one has taken its name before that.
        """
        self.names.notice(self._place_of_new)
        return self.names.version

    def forget_names(self, groups: Callable[[], Iterable[Group]]) -> None:
        """From time to time, forget the names of places that are gone. ``groups``: returns the groups of all rows.

        A place is kept as long as the tree knows its cgroup, since an idle process has no row; with ``pid``, as long as
        the process has a row.
        """
        if self.names.crowded():
            self.names.keep(set(self._places_of_rows(groups()) if GroupBy.PID in self.group_by else self._all_places()))
        self.names.settle()

    def _all_places(self) -> Iterator[Place]:
        return (self._place((id_, 0, b"")) for id_ in (*self.tree.ids(), _NO_CGROUP))

    def _places_of_rows(self, groups: Iterable[Group]) -> Iterator[Place]:
        return map(self._place_of_group, groups)

    def _place_of_group(self, group: Group) -> Place:
        owner = zip(self.group_by, group, strict=False)  # what follows the owner is not needed
        return tuple(value for part, value in owner if part is not GroupBy.EXECUTABLE)

    def place(self, cgroup: int, pid: int) -> Place:
        """The place of a process: the parts of its row's owner other than its name."""
        self._learn({cgroup})
        return self._place((cgroup, pid, b""))

    def _place(self, owner: Any) -> Place:
        return tuple(read(owner) for read in self._places)

    def _place_of_new(self, new: NewName) -> Place:
        return self.place(new.cgroup, new.pid)

    def _name(self, owner: Any) -> str:
        comm = owner[2].partition(b"\0")[0]
        return decoded(self.names.full(self._place(owner), comm) if len(comm) == COMM_BYTES else comm)

    def _owner(self, owner: Any) -> Group | None:
        if self.restricted and not owner[0]:  # see bpf/targets.h
            return None
        return tuple(read(owner) for read in self._readers)

    def _learn(self, ids: set[int]) -> None:
        """Ask the kernel which cgroups were created, and walk the tree for ids that were not looked up before.

        The ids were read earlier: each cgroup was reported before it could be counted.
        """
        unknown = self._unknown(ids)
        if unknown - self._asked:
            self.tree.notice()
            unknown = self._unknown(unknown)
        if unknown - self._asked:
            self.tree.learn()
            asked = self._asked if len(self._asked) < MAX_ASKED else set()
            self._asked = self._unknown(asked | unknown)

    def _unknown(self, ids: set[int]) -> set[int]:
        return {id_ for id_ in ids if not self.tree.knows(id_)}

    def _reader(self, part: GroupBy) -> Callable[[Any], str | int]:
        readers: Mapping[GroupBy, Callable[[Any], str | int]] = {
            GroupBy.CONTAINER: lambda owner: container_directory(self.tree.path(owner[0])),
            GroupBy.CGROUP: lambda owner: self.tree.path(owner[0]),
            GroupBy.EXECUTABLE: self._name,
            GroupBy.PID: lambda owner: int(owner[1]) or "",  # I/O that belongs to a cgroup but no process
        }
        return readers[part]
