# SPDX-License-Identifier: Apache-2.0
"""Cgroups of I/O if the io controller has its own hierarchy: version 1, or io on version 2 next to version 1.

The kernel notes in each bio a cgroup of io's hierarchy. Its id may mean another directory in the hierarchy that rows
use, so such ids are marked (bpf/block_io_owner.h) and looked up here, by path: runtimes use the same path in all
hierarchies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .cgroup_tree import CgroupTree, Hierarchy, nothing_new
from .new_cgroups import OF_IO, NewCgroup


class CgroupPaths(Protocol):
    """Paths of cgroups by kernel id."""

    def start_reading(self) -> set[int]:
        """Add the cgroups created since the last reading, forget removed ones, and return the ids of the rows'
        hierarchy."""

    def notice(self) -> None:
        """Add what the kernel reports now."""

    def learn(self) -> None:
        """Walk the directories once."""

    def path(self, cgroup_id: int) -> str:
        """The cgroup's path below its hierarchy's root; empty if never seen."""

    def knows(self, cgroup_id: int) -> bool:
        """Whether the id has a path."""

    def ids(self) -> Iterable[int]:
        """All ids that have a path."""

    def is_new(self, cgroup_id: int) -> bool:
        """Whether it was created after the first walk."""


@dataclass(frozen=True, slots=True)
class TreeWithIo:
    """The tree that rows use (``own``), and for marked ids that of ``io``."""

    own: CgroupPaths
    io: CgroupPaths

    def start_reading(self) -> set[int]:
        """Do so in both."""
        self.io.start_reading()
        return self.own.start_reading()

    def notice(self) -> None:
        """Do so in both."""
        self.own.notice()
        self.io.notice()

    def learn(self) -> None:
        """Walk both."""
        self.own.learn()
        self.io.learn()

    def path(self, cgroup_id: int) -> str:
        """The path in the hierarchy that the id belongs to."""
        return self.io.path(cgroup_id ^ OF_IO) if cgroup_id & OF_IO else self.own.path(cgroup_id)

    def knows(self, cgroup_id: int) -> bool:
        """Whether the id is known in its hierarchy."""
        return self.io.knows(cgroup_id ^ OF_IO) if cgroup_id & OF_IO else self.own.knows(cgroup_id)

    def ids(self) -> Iterable[int]:
        """The ids of both; those of io's hierarchy are marked."""
        return (*self.own.ids(), *(number | OF_IO for number in self.io.ids()))

    def is_new(self, cgroup_id: int) -> bool:
        """Whether it is new in the rows' own tree."""
        return self.own.is_new(cgroup_id)


def with_io(tree: CgroupTree, cgroup_root: Path, take: Callable[[], list[NewCgroup]] = nothing_new) -> CgroupPaths:
    """``tree`` itself if io is in the same hierarchy; ``cgroup_root`` is usually /sys/fs/cgroup.

    ``take``: returns the cgroups created in io's.
    """
    if tree.hierarchy.controller in ("v2", "blkio"):
        return tree
    version_1 = cgroup_root / "blkio"
    root = version_1 if version_1.exists() else cgroup_root / "unified"
    return TreeWithIo(tree, CgroupTree(Hierarchy("blkio", root), take))
