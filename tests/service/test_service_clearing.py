# SPDX-License-Identifier: Apache-2.0
"""Maps cleared at every reading under full load: the total is what was done, to the last count."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

HAMMER = Path(__file__).parents[1] / "kernel" / "workloads" / "hammer.py"
PROCESSES, INTERVAL = 2, 0.2
COUNT = "ebpf_syscall_duration_seconds_count"

pytestmark = pytest.mark.kernel_alone


def hammer(folder, name, seconds):
    """Start a process of that name that reads one cached page as fast as it can."""
    python = folder / name
    python.symlink_to(Path(sys.executable).resolve())
    return subprocess.Popen([python, "-S", "-E", HAMMER, str(seconds)], stdout=subprocess.PIPE, text=True)


def falls(pages):
    """Counters and histogram counts of ours that were lower in a scrape than in the one before."""
    for earlier, later in itertools.pairwise(pages):
        for key, value in earlier.samples.items():
            counter = key[0].startswith("ebpf_") and key[0].endswith(("_total", "_count", "_bucket", "_sum"))
            if counter and later.samples.get(key, value) < value:
                yield key, value, later.samples[key]


def test_clear_after_read_under_full_load_loses_nothing(serve, tmp_path, full_length):
    """Every read at full speed is on the page, although the maps were emptied five times a second; nothing ever fell.

    A minute at full length, otherwise 6 s.
    """
    seconds = 60 if full_length else 6
    service = serve(INTERVAL, cleanup="clear_after_read", cleanup_interval="200ms")
    # the service sees the whole machine: names that no other run of this test has
    idle_name, *names = (f"{name}-{os.getpid()}" for name in ("idle", *(f"ham{n}" for n in range(PROCESSES))))
    idle = hammer(tmp_path, idle_name, 0)
    idle.communicate()
    hammers = [hammer(tmp_path, name, seconds) for name in names]
    while any(process.poll() is None for process in hammers):
        service.page()
        try:
            hammers[0].wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    done = {name: int(process.communicate()[0]) for name, process in zip(names, hammers, strict=True)}
    page = service.settled()
    startup = page.sum(COUNT, comm=idle_name, syscall="pread64")
    counted = {comm: page.sum(COUNT, comm=comm, syscall="pread64") - startup for comm in done}
    pages = {comm: page.sum("ebpf_cache_read_attempts_total", comm=comm) for comm in (*done, idle_name)}

    assert 5_000 * seconds < sum(done.values())
    assert done == counted
    assert done == {comm: pages[comm] - pages[idle_name] for comm in done}
    assert seconds / 4 < len(service.pages)
    assert [] == list(falls(service.pages))
    assert {} == page.lost("page_cache", "syscalls")
