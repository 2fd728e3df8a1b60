# SPDX-License-Identifier: Apache-2.0
"""Processes that took a name of 15 bytes since the last reading, as reported by the kernel (bpf/new_names.c).

The kernel truncates a program's name to 15 bytes, so one of that length was probably longer. /proc does not show which
programs had it: those that have ended are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ebpf_sidecar.receivers.ebpf.maps.layout import Keys, Values

NEW_NAMES = "new_names"
"""The name of the C map, of the file that fills it, and of the drop reason when it was full."""


@dataclass(frozen=True, slots=True)
class NewName:
    """Processes with the name ``comm`` (15 bytes) in a cgroup: ``count`` programs started, with the whole ``name``.

    Without a name: how many more processes took it than programs with it started. ``pid``: 0 unless rows are grouped by
    process. ``name`` is also empty if the path does not start with ``comm``, as for file descriptors.
    """

    cgroup: int
    pid: int
    comm: bytes
    name: bytes
    started: bool
    count: int


class NameMap(Protocol):
    """What is needed of a kernel map (see kernel_map.KernelMap)."""

    def take(self) -> tuple[Keys, Values]:
        """Remove and return all entries: keys (n,) and values (n, 1)."""
        ...


def take_new_names(kernel_map: NameMap) -> Iterator[NewName]:
    """Take the new names since the last call. Raises `ProbeError`."""
    keys, values = kernel_map.take()
    fields = (keys[name].tolist() for name in ("cgroup", "tgid", "comm", "path"))
    for cgroup, pid, comm, path, count in zip(*fields, values[:, 0].astype("i8").tolist(), strict=True):
        name = path.rpartition(b"/")[2]
        yield NewName(cgroup, pid, comm, name if name.startswith(comm) else b"", bool(path), count)
