# SPDX-License-Identifier: Apache-2.0
"""The probes at work without the service, and what the kernel counts of their programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

BPF = Path(__file__).resolve().parents[2] / "bpf"
PROBES = ("page_cache", "block_io", "syscalls", "memory", "page_faults")
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")


@contextmanager
def stats(state: str) -> Iterator[None]:
    """The kernel counts runs of programs (``1``) or not (``0``) within the block; as it was before afterwards."""
    before = STATS.read_text()
    STATS.write_text(state)
    try:
        yield
    finally:
        STATS.write_text(before)


def probes(names: tuple[str, ...] = PROBES) -> LoadedProbes:
    """The probes at work."""
    return load([read_probe(BPF / f"{name}.yaml") for name in names], request(names))


def request(names: tuple[str, ...] = PROBES) -> LoadRequest:
    """The load request for them."""
    hierarchy = find_hierarchy(Path("/sys/fs/cgroup")).controller
    return request_for([read_probe(BPF / f"{name}.yaml") for name in names], cgroup_hierarchy=hierarchy)
