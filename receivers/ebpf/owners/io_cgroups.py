# SPDX-License-Identifier: Apache-2.0
"""Cgroups of I/O where the controller io has a hierarchy of its own: version 1, or io on version 2 beside version 1.

The kernel notes in each bio a cgroup of io's hierarchy. Its number may mean another directory in the hierarchy that
rows are kept by, so such numbers are marked (bpf/block_io_owner.h) and are looked up here, by path: runtimes use the
same path in all hierarchies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .cgroup_tree import CgroupTree, Hierarchy, nothing_new
from .new_cgroups import OF_IO, NewCgroup


class Tree(Protocol):
    """Paths of cgroups by kernel id."""

    def begin_reading(self) -> set[int]:
        """Take in what was made since the last reading, and forget what went: the ids of the rows' hierarchy."""

    def notice(self) -> None:
        """Take in what the kernel tells of now."""

    def learn(self) -> None:
        """Walk the directories once."""

    def path(self, cgroup_id: int) -> str:
        """The cgroup's path below its hierarchy's root; empty when never seen."""

    def knows(self, cgroup_id: int) -> bool:
        """Whether the id has a path."""

    def ids(self) -> Iterable[int]:
        """All that have one."""

    def is_new(self, cgroup_id: int) -> bool:
        """Whether it was made after the first walk."""


@dataclass(frozen=True, slots=True)
class WithIo:
    """The tree that rows are kept by (``own``), and for marked numbers that of ``io``."""

    own: Tree
    io: Tree

    def begin_reading(self) -> set[int]:
        """That of both."""
        self.io.begin_reading()
        return self.own.begin_reading()

    def notice(self) -> None:
        """That of both."""
        self.own.notice()
        self.io.notice()

    def learn(self) -> None:
        """Walk both."""
        self.own.learn()
        self.io.learn()

    def path(self, cgroup_id: int) -> str:
        """The path in the hierarchy that the number is of."""
        return self.io.path(cgroup_id ^ OF_IO) if cgroup_id & OF_IO else self.own.path(cgroup_id)

    def knows(self, cgroup_id: int) -> bool:
        """Whether it is known there."""
        return self.io.knows(cgroup_id ^ OF_IO) if cgroup_id & OF_IO else self.own.knows(cgroup_id)

    def ids(self) -> Iterable[int]:
        """Those of both, marked where they are of io's."""
        return (*self.own.ids(), *(number | OF_IO for number in self.io.ids()))

    def is_new(self, cgroup_id: int) -> bool:
        """That of the rows' own tree."""
        return self.own.is_new(cgroup_id)


def with_io(tree: CgroupTree, cgroup_root: Path, take: Callable[[], list[NewCgroup]] = nothing_new) -> Tree:
    """``tree`` itself where io is in the same hierarchy; ``cgroup_root`` is usually /sys/fs/cgroup.

    ``take``: what was made in io's.
    """
    if tree.hierarchy.controller in ("v2", "blkio"):
        return tree
    version_1 = cgroup_root / "blkio"
    root = version_1 if version_1.exists() else cgroup_root / "unified"
    return WithIo(tree, CgroupTree(Hierarchy("blkio", root), take))
