# SPDX-License-Identifier: Apache-2.0
"""Which cgroup a kernel id means: the id is the inode number of the cgroup's directory.

On cgroup v2 the id comes from the unified hierarchy. On v1 and on hybrid hosts (v1 controllers beside a v2 tree without
any) containers live in the v1 hierarchies, so the id of one of those is used, memory first.
The kernel tells of each cgroup that is made (new_cgroups.py), and the tree is walked for those that were there before.
Those that have gone keep their path until what was counted for them has been read, and a bounded number of them longer:
a disk may still be writing for a container that has ended.
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
"""Cgroups that have gone and may still be counted for, besides those made since the reading before."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The cgroup hierarchy in which containers are told apart: ``controller`` is ``v2`` or a v1 controller's name."""

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
    """Where the kernel does not tell."""
    return []


@dataclass
class CgroupTree:
    """Paths of cgroups by kernel id. ``take``: gives those that were made since it was asked last."""

    hierarchy: Hierarchy
    take: Callable[[], list[NewCgroup]] = nothing_new
    _paths: dict[int, str] = field(default_factory=dict)
    _older: frozenset[int] | None = None
    """Those that were there when it was walked first."""
    _noticed: set[int] = field(default_factory=set)
    """Since this reading began."""
    _recent: tuple[int, int] = (0, 0)
    """How many were made until the reading before this one began, and until this one did."""
    _unsorted: int = 0
    """Names taken in since it was last looked which of all live."""

    def __len__(self) -> int:
        return len(self._paths)

    def begin_reading(self) -> set[int]:
        """Take in what was made since the last reading; the ids, those that have gone again included.

        What has gone is forgotten now and then, so that memory is bounded by what lives. Raises `ProbeError`.
        """
        self.notice()
        made, self._noticed = self._noticed, set()
        self._recent = (self._recent[1], len(made))
        if self._unsorted > _REMEMBERED:
            self.learn()
        return made

    def notice(self) -> None:
        """Take in what the kernel tells of now. Raises `ProbeError`."""
        orphans = self._take_in(self.take())
        if orphans:  # their parents were made when nobody told, or when the kernel had no room for more
            self.learn()
            self._take_in(orphans)

    def learn(self) -> None:
        """Walk the tree once, and forget what is gone for long."""
        living = {inode: path for path, inode in directories(self.hierarchy.root)}
        if self._older is None:
            self._older = frozenset(living)
        # an inode number may be used again for a new directory: the living one is right
        gone = [(inode, path) for inode, path in self._paths.items() if inode not in living]
        kept = gone[-max(_REMEMBERED, sum(self._recent) + len(self._noticed)) :]
        self._paths, self._unsorted = {**dict(kept), **living}, 0

    def _take_in(self, made: list[NewCgroup]) -> list[NewCgroup]:
        """Remember the paths of these; those of unknown parents are returned."""
        orphans = []
        for each in made:
            self._noticed.add(each.id)
            above = self._paths.get(each.parent)
            if above is None:
                orphans.append(each)
            else:
                self._paths[each.id] = f"{above.rstrip('/')}/{shown(each.name)}"
                self._unsorted += 1
        return orphans

    def path(self, cgroup_id: int) -> str:
        """The cgroup's path below the hierarchy's root, ``/`` for the root itself, `UNKNOWN` when never seen."""
        return self._paths.get(cgroup_id, UNKNOWN)

    def ids(self) -> Iterable[int]:
        """All ids that have one."""
        return self._paths

    def is_new(self, cgroup_id: int) -> bool:
        """Whether it was made after the first walk."""
        return self.knows(cgroup_id) and cgroup_id not in (self._older or ())

    def knows(self, cgroup_id: int) -> bool:
        """Whether the id has a path."""
        return cgroup_id in self._paths


def shown(name: bytes) -> str:
    r"""What the kernel calls something, as text; bytes that are not UTF-8 become ``\xff``: other names stay others."""
    return name.decode("utf-8", "backslashreplace")


def directories(root: Path) -> Iterator[tuple[str, int]]:
    """Every directory below ``root`` with its path from there and its inode; those that vanish meanwhile left out."""
    top = os.fsencode(root)
    for folder, _, _ in os.walk(top, onerror=None):
        try:
            yield shown(folder[len(top) :]) or "/", os.stat(folder).st_ino  # noqa: PTH116 # a path need not be text
        except OSError:
            continue
