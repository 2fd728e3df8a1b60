# SPDX-License-Identifier: Apache-2.0
"""Target cgroups: finds them, and updates the kernel's map when they change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from ebpf_sidecar.pipeline.container_path import container_of
from ebpf_sidecar.receivers.ebpf.loading.targets import CGROUP_NUMBER
from ebpf_sidecar.receivers.ebpf.maps.generation import Generation
from ebpf_sidecar.receivers.ebpf.maps.kernel_map import KernelMap
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import directories

ONLY_BELOW = 1
"""The value of a cgroup that is not a target itself, but whose new children are, see bpf/targets.h."""


def chosen_ids(patterns: Collection[str], found: Iterable[tuple[str, int]]) -> dict[int, str]:
    """The targets among ``found`` (path, inode; parents first) by inode, with the pattern that each matched.

    Cgroups below a target are targets as well.
    """
    by_path: dict[str, str] = {}
    ids: dict[int, str] = {}
    for path, inode in found:
        above = path.rpartition("/")[0] or "/"
        pattern = by_path.get(above) or next((each for each in patterns if _matches(path, inode, each)), None)
        if pattern is not None:
            by_path[path] = ids[inode] = pattern
    return ids


def parent_ids(patterns: Collection[str], found: Iterable[tuple[str, int]]) -> set[int]:
    """The inodes among ``found`` (path, inode) all of whose children are targets, whatever their names."""
    stems = [pattern.removesuffix("/*") or "/" for pattern in patterns if pattern.endswith("/*")]
    return {inode for path, inode in found if any(fnmatchcase(path, stem) for stem in stems)}


def _matches(path: str, inode: int, pattern: str) -> bool:
    if pattern.startswith("/"):
        return fnmatchcase(path, pattern.rstrip("/") or "/")
    if CGROUP_NUMBER.fullmatch(pattern):
        return inode == int(pattern)
    container = container_of(path)
    return container is not None and container.id.startswith(pattern)


@dataclass
class CgroupWatch:
    """Keeps the kernel's set of target cgroups up to date. ``root``: of the hierarchy whose inodes the programs see."""

    patterns: Collection[str]
    root: Path
    targets: KernelMap
    generation: Generation
    warn: Callable[[str], None]
    _present: set[int] = field(default_factory=set)
    _above: set[int] = field(default_factory=set)
    _version: int = 0
    _missed: set[str] = field(default_factory=set)

    def update(self, made: Collection[int] = ()) -> None:
        """Walk the tree and update the kernel's map. Raises `ProbeError`.

        ``made``: cgroups that the kernel reported since the last call, and may have added to the map itself.
        """
        found = list(directories(self.root))
        chosen = chosen_ids(self.patterns, found)
        above = parent_ids(self.patterns, found) - chosen.keys()
        self._warn(set(self.patterns) - set(chosen.values()), len(chosen))
        # if there is no room for all, those already measured stay
        first = sorted(chosen, key=lambda inode: inode not in self._present)
        now = set(first[: self.targets.max_entries])
        above = set(sorted(above)[: self.targets.max_entries - len(now)])
        self.targets.delete(_keys((self._present | self._above | set(made)) - now - above))
        self.targets.add(_keys(now - self._present))
        self.targets.add(_keys(above - self._above), ONLY_BELOW)
        self._above = above
        if now - self._present:
            # threads that were matched before are matched again
            self._version += 1
            self.generation.control.write(1, self._version)
        self._present = now

    def _warn(self, unmatched: set[str], count: int) -> None:
        for pattern in sorted(unmatched - self._missed):
            self.warn(f'targets::cgroups: no cgroup matches "{pattern}" now; it will be measured once it exists')
        room = self.targets.max_entries
        if count > room and "" not in self._missed:
            unmatched = unmatched | {""}
            self.warn(
                f"targets::cgroups: {count} cgroups match, but only {room} can be measured; use narrower "
                "patterns, or raise max_map_memory"
            )
        self._missed |= unmatched


def _keys(ids: Collection[int]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.array(sorted(ids), np.uint64).view([("key", np.uint64)])
