# SPDX-License-Identifier: Apache-2.0
"""Finds cgroups by kernel id, which is the inode number of the cgroup's directory.

On cgroup v2 the id comes from the unified hierarchy. On v1 and on hybrid hosts (v1 controllers next to a v2 tree
without controllers) containers are in the v1 hierarchies, so the id in one of those is used, memory first. The kernel
reports each new cgroup (new_cgroups.py), and the tree is walked for those that existed before. Removed cgroups keep
their path until their counts have been read, and a bounded number of them longer: a disk may still be writing for a
container that has ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .new_cgroups import NewCgroup

UNKNOWN = ""
_V1_CONTROLLERS = ("memory", "cpu,cpuacct", "cpu", "blkio", "pids", "devices", "freezer")
_REMEMBERED = 1024
"""How many removed cgroups are remembered, besides those created since the previous reading."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The cgroup hierarchy that identifies containers: ``controller`` is ``v2`` or a v1 controller's name."""

    controller: str
    root: Path


def find_hierarchy(cgroup_root: Path) -> Hierarchy:
    """The hierarchy to use below ``cgroup_root`` (usually /sys/fs/cgroup)."""
    if (cgroup_root / "cgroup.controllers").exists():
        return Hierarchy("v2", cgroup_root)
    for controller in _V1_CONTROLLERS:
        if (cgroup_root / controller / "cgroup.procs").exists():
            return Hierarchy(controller.partition(",")[0], cgroup_root / controller)
    return Hierarchy("v2", cgroup_root)


def nothing_new() -> list[NewCgroup]:
    """Used if the kernel does not report new cgroups."""
    return []


@dataclass
class CgroupTree:
    """Paths of cgroups by kernel id. ``take``: returns the cgroups created since its last call."""

    hierarchy: Hierarchy
    take: Callable[[], list[NewCgroup]] = nothing_new
    _paths: dict[int, str] = field(default_factory=dict)
    _older: frozenset[int] | None = None
    """The ids found by the first walk."""
    _noticed: set[int] = field(default_factory=set)
    """Reported since this reading started."""
    _recent: tuple[int, int] = (0, 0)
    """How many were created before the previous reading started, and before this one."""
    _unsorted: int = 0
    """Names added since the last check of which still exist."""

    def __len__(self) -> int:
        return len(self._paths)

    def start_reading(self) -> set[int]:
        """Add the cgroups created since the last reading, and return their ids, including removed ones.

        From time to time removed ones are forgotten, so that memory is bounded by the live ones. Raises `ProbeError`.
        """
        self.notice()
        made, self._noticed = self._noticed, set()
        self._recent = (self._recent[1], len(made))
        if self._unsorted > _REMEMBERED:
            self.learn()
        return made

    def notice(self) -> None:
        """Add what the kernel reports now. Raises `ProbeError`."""
        orphans = self._take_in(self.take())
        if orphans:  # their parents were created unreported, or when the kernel's map was full
            self.learn()
            self._take_in(orphans)

    def learn(self) -> None:
        """Walk the tree once, and forget what has long been gone."""
        living = {inode: path for path, inode in directories(self.hierarchy.root)}
        if self._older is None:
            self._older = frozenset(living)
        # an inode number may be reused for a new directory: the existing one is right
        gone = [(inode, path) for inode, path in self._paths.items() if inode not in living]
        kept = gone[-max(_REMEMBERED, sum(self._recent) + len(self._noticed)) :]
        self._paths, self._unsorted = {**dict(kept), **living}, 0

    def _take_in(self, made: list[NewCgroup]) -> list[NewCgroup]:
        """Remember the paths of these; return those with unknown parents."""
        orphans = []
        for each in made:
            self._noticed.add(each.id)
            above = self._paths.get(each.parent)
            if above is None:
                orphans.append(each)
            else:
                self._paths[each.id] = f"{above.rstrip('/')}/{decoded(each.name)}"
                self._unsorted += 1
        return orphans

    def path(self, cgroup_id: int) -> str:
        """The cgroup's path below the hierarchy's root, ``/`` for the root itself, `UNKNOWN` if never seen."""
        return self._paths.get(cgroup_id, UNKNOWN)

    def ids(self) -> Iterable[int]:
        """All ids that have a path."""
        return self._paths

    def is_new(self, cgroup_id: int) -> bool:
        """Whether it was created after the first walk."""
        return self.knows(cgroup_id) and cgroup_id not in (self._older or ())

    def knows(self, cgroup_id: int) -> bool:
        """Whether the id has a path."""
        return cgroup_id in self._paths


def decoded(name: bytes) -> str:
    r"""A name from the kernel as text; bytes that are not UTF-8 become ``\xff``, so that different names stay
    different."""
    return name.decode("utf-8", "backslashreplace")


def directories(root: Path) -> Iterator[tuple[str, int]]:
    """Every directory below ``root`` with its path from there and its inode; except those that vanish meanwhile."""
    top = os.fsencode(root)
    for folder, _, _ in os.walk(top, onerror=None):
        try:
            yield decoded(folder[len(top) :]) or "/", os.stat(folder).st_ino  # noqa: PTH116 # a path may not be valid text
        except OSError:
            continue
