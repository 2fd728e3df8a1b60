# SPDX-License-Identifier: Apache-2.0
"""Who came to a name of 15 bytes since the last look, as the kernel tells it (bpf/new_names.c).

The kernel keeps 15 bytes of a program's name, so one of that length was probably longer. Which programs may have had it
cannot be seen in /proc: those that have ended are not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ebpf_sidecar.receivers.ebpf.maps.layout import Keys, Values

NEW_NAMES = "new_names"
"""The map in C, the file that fills it, and the reason of those for which it had no room."""


@dataclass(frozen=True, slots=True)
class NewName:
    """Processes with the name ``comm`` (15 bytes) in a cgroup: ``count`` programs started, with the whole ``name``.

    Without a name: by how many more processes took it than programs with it were started. ``pid``: 0 unless rows are
    kept by process. ``name`` is empty, too, where the path does not begin with ``comm``, as of file descriptors.
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
        """All entries, which are removed: keys (n,) and values (n, 1)."""
        ...


def taken_from(kernel_map: NameMap) -> Iterator[NewName]:
    """Those since the last time. Raises `ProbeError`."""
    keys, values = kernel_map.take()
    fields = (keys[name].tolist() for name in ("cgroup", "tgid", "comm", "path"))
    for cgroup, pid, comm, path, count in zip(*fields, values[:, 0].astype("i8").tolist(), strict=True):
        name = path.rpartition(b"/")[2]
        yield NewName(cgroup, pid, comm, name if name.startswith(comm) else b"", bool(path), count)
