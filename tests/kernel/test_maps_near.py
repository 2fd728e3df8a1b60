# SPDX-License-Identifier: Apache-2.0
"""Entries in near maps and in the hash maps next to them: the counts must not depend on the place."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

THREADS, READS = 200, 60
PREAD = {"x86_64": 17, "aarch64": 67}[os.uname().machine]

pytestmark = pytest.mark.kernel_alone


@pytest.mark.parametrize("budget", [512 << 10, 16 << 20])
def test_more_threads_than_places_are_distinguished(attach, rows, budget, tmp_path):
    """200 threads at once, with 128 places for their states and with 2048: every read counts once."""
    loaded = attach("page_cache", "syscalls", budget=budget)
    (tmp_path / "file").write_bytes(bytes(4096))
    before = [rows(loaded, "syscall_stats", os.getpid(), syscall=PREAD), rows(loaded, "cache_stats_map", os.getpid())]
    together, file = threading.Barrier(THREADS), os.open(tmp_path / "file", os.O_RDONLY)

    def read(_):
        together.wait()
        size = sum(len(os.pread(file, 100, 0)) for _ in range(READS))
        together.wait()
        return size, len(loaded.maps["threads"].near.read()[0])

    with ThreadPoolExecutor(THREADS) as pool:
        reported = list(pool.map(read, range(THREADS)))
    os.close(file)

    calls, pages = (
        rows(loaded, "syscall_stats", os.getpid(), syscall=PREAD),
        rows(loaded, "cache_stats_map", os.getpid()),
    )
    assert THREADS * READS * 100 == sum(size for size, _ in reported)
    assert [THREADS * READS * 100] == [calls["bytes"][0] - before[0]["bytes"][0]]
    assert THREADS * READS == sum(calls["duration"]) - sum(before[0]["duration"])
    assert THREADS * READS <= pages["lookups"][0] - before[1]["lookups"][0] < THREADS * (READS + 5)
    assert (budget < 1 << 20) == (max(near for _, near in reported) <= 128)
    assert {} == {name: lost for name, lost in loaded.drops.read().items() if lost}


def test_rows_beyond_the_places_are_in_the_hash_map(attach, run):
    """200 processes with a row each in 128 places: all are there, and none twice."""
    loaded = attach("page_cache", "syscalls", budget=1 << 20)

    run("processes.py", 200, 3)

    for name, column in (("cache_stats_map", "lookups"), ("syscall_stats", "bytes")):
        kernel_map = loaded.maps[name]
        keys, values = kernel_map.read()
        near, _ = kernel_map.near.read()
        wanted = values[:, kernel_map.value_fields[column]][:, 0] == {"lookups": 3, "bytes": 3 * 512}[column]
        assert 200 <= wanted.sum()
        assert 0 < len(near) < len(keys)
        assert len(keys) == len({key.tobytes() for key in keys})


def test_each_processor_counts_a_row_in_a_place_of_its_own(attach, rows, tmp_path):
    """Keys whose place is taken are in the hash map; the sum is exact, and no CPU waits for another's cache line."""
    cpus = sorted(os.sched_getaffinity(0))
    loaded = attach("page_cache", "syscalls")
    (tmp_path / "file").write_bytes(bytes(4096))
    before = rows(loaded, "syscall_stats", os.getpid(), syscall=PREAD)["bytes"][0]

    for cpu in cpus:
        read_on(cpu, tmp_path / "file")

    kernel_map = loaded.maps["syscall_stats"]
    near, far = kernel_map.near.read(), replace(kernel_map, near=None).read()
    here, beside = (bytes_of_mine(kernel_map, *entries) for entries in (near, far))
    assert len(cpus) * READS * 100 == sum(here) + sum(beside) - before
    assert len(here) == len(cpus) or len(beside) == 1
    assert all(size >= READS * 100 for size in here)


def bytes_of_mine(kernel_map, keys, values):
    """The bytes in each entry of this process and pread."""
    mine = (keys["tgid"] == os.getpid()) & (keys["syscall"] == PREAD)
    return values[mine][:, kernel_map.value_fields["bytes"]].ravel().tolist()


def read_on(cpu, path):
    """On that one only."""
    allowed, file = os.sched_getaffinity(0), os.open(path, os.O_RDONLY)
    os.sched_setaffinity(0, [cpu])
    for _ in range(READS):
        os.pread(file, 100, 0)
    os.sched_setaffinity(0, allowed)
    os.close(file)
