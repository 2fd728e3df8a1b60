# SPDX-License-Identifier: Apache-2.0
"""Which cgroup a kernel id means: the id is the inode number of the cgroup's directory.

On cgroup v2 the id comes from the unified hierarchy. On v1 and on hybrid hosts (v1 controllers beside a v2 tree without
any) containers live in the v1 hierarchies, so the id of one of those is used, memory first.
Directories that have gone keep their path for as long as the process runs, so that what a container did shortly before
its end is still attributed; a bounded number of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

UNKNOWN = ""
_V1_CONTROLLERS = ("memory", "cpu,cpuacct", "cpu", "blkio", "pids", "devices", "freezer")
_REMEMBERED = 1024
"""Directories that have gone: more than go between two clearings of the maps on a machine in a crash loop."""


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


@dataclass
class CgroupTree:
    """Paths of cgroups by kernel id, learnt by walking the directories when an unknown id appears."""

    hierarchy: Hierarchy
    _paths: dict[int, str] = field(default_factory=dict)

    def learn(self) -> None:
        """Walk the tree once."""
        living = {inode: path for path, inode in directories(self.hierarchy.root)}
        # an inode number may be used again for a new directory: the living one is right
        gone = [(inode, path) for inode, path in self._paths.items() if inode not in living]
        self._paths = {**dict(gone[-_REMEMBERED:]), **living}

    def path(self, cgroup_id: int) -> str:
        """The cgroup's path below the hierarchy's root, ``/`` for the root itself, `UNKNOWN` when never seen."""
        return self._paths.get(cgroup_id, UNKNOWN)

    def knows(self, cgroup_id: int) -> bool:
        """Whether the id was seen in a walk."""
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
