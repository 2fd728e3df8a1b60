# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup that is too small, of whichever version: what runs in it has to reclaim memory all the time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import Hierarchy, find_hierarchy

ENTER = 'echo $$ > "$1" && shift && exec "$@"'
FILES = {"v2": "memory.max", "memory": "memory.limit_in_bytes"}


@contextmanager
def limited(size: int) -> Iterator[list[str]]:
    """A cgroup of ``size`` bytes for the length of the block; what stands before a command to run it there."""
    if size == 0:
        yield []
        return
    found = find_hierarchy(Path("/sys/fs/cgroup"))
    folder = found.root / f"ebpf-sidecar-bench-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / FILES[found.controller]).write_text(str(size))
        yield ["sh", "-c", ENTER, "sh", str(folder / "cgroup.procs")]
    finally:
        _remove(folder)


def why_no_limit() -> str:
    """Empty where such a cgroup can be made."""
    found = find_hierarchy(Path("/sys/fs/cgroup"))
    return "" if os.access(found.root, os.W_OK) and _has_memory(found) else "no memory cgroup can be made"


def _has_memory(found: Hierarchy) -> bool:
    if found.controller != "v2":
        return found.controller in FILES
    return "memory" in (found.root / "cgroup.subtree_control").read_text().split()


def _remove(folder: Path) -> None:
    """The kernel needs a moment for what just ended in it."""
    for _ in range(100):
        try:
            folder.rmdir()
            break
        except OSError:
            time.sleep(0.05)
