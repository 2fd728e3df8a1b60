# SPDX-License-Identifier: Apache-2.0
"""Thousands of short-lived processes on the running kernel: all of their calls are on a page of bounded size."""

import os
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy

NAME = f"sidecar-folded-{os.getpid()}"
READS, SIZE, SERIES = 3, 512, 1000
MOVED = "ebpf_syscall_io_bytes_total"

pytestmark = pytest.mark.parallel


@pytest.fixture
def inside(work):
    """Run a workload in a separate cgroup."""
    folder = find_hierarchy(Path("/sys/fs/cgroup")).root / NAME
    folder.mkdir()

    def inside(*arguments):
        return work(*arguments, cgroup=folder)

    yield inside
    folder.rmdir()


def test_a_folded_page_shows_what_thousands_of_processes_did(serve, inside, full_length):
    """As many bytes, calls and seconds as the page that shows each of them, at a fraction of its series."""
    processes = 3000 if full_length else 800
    service = serve(
        probes="{syscalls: {syscalls: [pread64]}}",
        bounds="[1.073741824s]",
        targets=f"{{cgroups: [/{NAME}]}}",
        pages=[("folded", f"fold_beyond: {SERIES}, start_at_zero: false")],
    )
    inside("manynames", "processes.py", processes, READS, "job-")
    full = service.settled()
    folded = service._read(service.get("/folded"))
    ours = folded.rows(MOVED)

    assert processes <= len(full.rows(MOVED))
    assert processes * READS * SIZE == sum(
        value
        for labels, value in full.rows(MOVED).items()
        if dict(labels)["process_executable_name"].startswith("job-")
    )
    for name in (MOVED, "ebpf_syscall_duration_seconds_count"):
        assert full.sum(name) == folded.sum(name)
    assert full.sum("ebpf_syscall_duration_seconds_sum") == pytest.approx(
        folded.sum("ebpf_syscall_duration_seconds_sum")
    )
    assert SERIES > len(folded.samples)
    assert 1 == sum(dict(labels).get("process_executable_name") == "other" for labels in ours)
    assert {} == full.lost("syscalls")
