# SPDX-License-Identifier: Apache-2.0
"""Chosen cgroups: which they are now, and telling the kernel when there are others."""

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
"""The value of a cgroup that is not chosen, but all that are made in it, see bpf/targets.h."""


def chosen_ids(patterns: Collection[str], found: Iterable[tuple[str, int]]) -> dict[int, str]:
    """The chosen among ``found`` (path, inode; parents first) by inode, with the pattern that chose each.

    What is below a chosen cgroup is chosen with it.
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
    """The inodes among ``found`` (path, inode) of whose children each is chosen, whatever its name."""
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
    """Keeps the kernel's set of chosen cgroups true. ``root``: of the hierarchy whose inodes the programs see."""

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
        """Walk the tree and tell the kernel what came and went. Raises `ProbeError`.

        ``made``: cgroups of which the kernel told since the last time, and which it may have chosen by itself.
        """
        found = list(directories(self.root))
        chosen = chosen_ids(self.patterns, found)
        above = parent_ids(self.patterns, found) - chosen.keys()
        self._say(set(self.patterns) - set(chosen.values()), len(chosen))
        # where there is no room for all, those that are measured already go on
        first = sorted(chosen, key=lambda inode: inode not in self._present)
        now = set(first[: self.targets.max_entries])
        above = set(sorted(above)[: self.targets.max_entries - len(now)])
        self.targets.delete(_keys((self._present | self._above | set(made)) - now - above))
        self.targets.add(_keys(now - self._present))
        self.targets.add(_keys(above - self._above), ONLY_BELOW)
        self._above = above
        if now - self._present:
            # threads that were judged before are judged anew
            self._version += 1
            self.generation.control.write(1, self._version)
        self._present = now

    def _say(self, unmatched: set[str], count: int) -> None:
        for pattern in sorted(unmatched - self._missed):
            self.warn(f'targets::cgroups: no cgroup matches "{pattern}" now; it will be measured once it is there')
        room = self.targets.max_entries
        if count > room and "" not in self._missed:
            unmatched = unmatched | {""}
            self.warn(
                f"targets::cgroups: {count} cgroups are chosen, but only {room} can be measured; write narrower "
                "patterns, or raise max_map_memory"
            )
        self._missed |= unmatched


def _keys(ids: Collection[int]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.array(sorted(ids), np.uint64).view([("key", np.uint64)])
