# SPDX-License-Identifier: Apache-2.0
"""Reads that kernels serve in different ways: io_uring, files truncated meanwhile, interrupted calls, many
processes."""

import errno
import mmap
import os
from pathlib import Path

import pytest
from page_count_tolerance import near

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

NUMBER = syscall_table().numbers
PAGE = mmap.PAGESIZE
SIZE = 4 << 20
PAGES = SIZE // PAGE
READ, WRITE, MMAP, OTHER, FILL = range(5)


@pytest.fixture(scope="module")
def loaded(load_once):
    """Both probes, which share their programs."""
    return load_once("page_cache", "syscalls")


@pytest.fixture
def cold(file_of):
    """A file that is in no cache."""
    return file_of(SIZE)


@pytest.mark.proves("ebpf.cache.read_attempts", oracle="known number")
@pytest.mark.proves("ebpf.page_cache.adds", "ebpf.cache.misses", oracle="mincore(2)")
@pytest.mark.parametrize("use", ["one", "many", "workers", "workers_one_by_one", "kernel_polls", "user_polls"])
def test_cold_reads_through_io_uring_count_once_for_the_requester(loaded, observe, cold, use):
    """Each requests its pages up to three times, and kernel workers do some of the work."""
    seen = observe(loaded, "rings.py", use, cold, size=SIZE, step=PAGE)

    assert [near(PAGES)] * 2 == [seen.lookups, seen.misses]
    assert [near(PAGES)] * 2 == [seen.grown, seen.adds[READ]]


@pytest.mark.proves("ebpf.cache.misses", oracle="known number")
@pytest.mark.parametrize("action", ["heads", "later", "by_another", "after_a_mapping", "rewritten"])
def test_a_page_read_ahead_is_a_miss_of_the_first_read_that_requests_it(loaded, observe, cold, action):
    """However long ago it came in, for whichever process; pages that a fault or a write brought in are no misses."""
    seen = observe(loaded, "asking.py", action, cold, size=SIZE, step=65536)

    assert near(seen.facts["misses"]) == seen.misses
    assert seen.misses <= seen.lookups


@pytest.mark.proves("ebpf.cache.mapped_faults", "ebpf.cache.mapped_misses", oracle="majflt in /proc/<pid>/stat")
def test_faults_on_mapped_files_are_those_that_the_kernel_counts(loaded, observe, cold):
    """Without read-ahead each is a major fault; the second time none is."""
    first, second = (observe(loaded, "files.py", "mapped_randomly", cold, size=SIZE, step=PAGE) for _ in range(2))

    assert [near(PAGES // 16)] * 3 == [first.mapped_faults, first.mapped_misses, first.faults[1]]
    assert near(PAGES // 16) == second.mapped_faults
    assert (near(0), near(0)) == (second.mapped_misses, second.misses)


@pytest.mark.proves("ebpf.page_cache.adds", oracle="read_bytes in /proc/<pid>/io")
def test_pages_that_a_write_has_to_read_first_have_their_own_cause(loaded, observe, cold):
    """A hundred bytes of every eighth page."""
    seen = observe(loaded, "transfers.py", "patched", cold, size=SIZE)

    assert [near(PAGES // 8)] * 2 == [seen.adds[FILL], seen.dirtied]
    assert pytest.approx(seen.fetched, abs=8) == seen.adds[FILL]
    assert near(0) == seen.adds[WRITE]


@pytest.mark.proves("ebpf.page_cache.adds", "ebpf.page_cache.dirtied", oracle="mincore(2)")
def test_writes_through_io_uring_are_no_misses(loaded, observe, tmp_path):
    """A new file."""
    seen = observe(loaded, "rings.py", "written", tmp_path / "new", size=SIZE, step=65536)

    assert [near(PAGES)] * 3 == [seen.grown, seen.dirtied, seen.adds[WRITE]]
    assert near(0) == seen.lookups + seen.adds[READ]


@pytest.mark.proves("ebpf.cache.read_attempts", oracle="known number")
@pytest.mark.parametrize("cached", [0, PAGES // 2, PAGES])
def test_reads_that_may_not_wait_count_what_they_find(loaded, observe, cold, cached):
    """RWF_NOWAIT, 64 KiB at a time. A guest's disk may be so quick that read-ahead is there at once."""
    with cold.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.read(cached * PAGE)

    seen = observe(loaded, "ways.py", "unwilling", cold, size=SIZE, step=65536)

    assert pytest.approx(seen.facts["pages"], abs=16) == seen.lookups


@pytest.mark.proves("ebpf.cache.read_attempts", "ebpf.page_cache.removes", oracle="known number")
def test_a_file_truncated_while_it_is_read_counts_what_was_there(loaded, observe, cold):
    """Four readers, a fifth thread truncates."""
    seen = observe(loaded, "ways.py", "truncated", cold, size=SIZE // 4, step=65536)

    assert 1000 < seen.lookups
    assert pytest.approx(seen.lookups, rel=0.05, abs=64) == seen.facts["pages"]
    assert seen.grown == pytest.approx(seen.adds[READ] - seen.removes, abs=8)


def read_by_signal(loaded, rows, reported):
    """Calls of readv, their seconds, and how many of them were interrupted."""
    counted = rows(loaded, "syscall_stats", reported["pid"], syscall=NUMBER["readv"])
    errors = rows(loaded, "syscall_errors", reported["pid"], syscall=NUMBER["readv"], error=errno.EINTR)
    return sum(counted["duration"]), counted["duration_sum"][0] / 1e9, errors["errors"][0]


@pytest.mark.proves("ebpf.syscall.duration", "ebpf.syscall.errors", oracle="known number")
@pytest.mark.parametrize(("how", "expected"), [("restarted", (1, 0)), ("stopped", (1, 0)), ("interrupted", (3, 2))])
def test_interrupted_calls_count_as_their_caller_sees_them(loaded, run, rows, how, expected):
    """Two interruptions in 0.3 s: calls, and how many of them with EINTR."""
    calls, seconds, interrupted = read_by_signal(loaded, rows, run("calls.py", how))

    assert expected == (calls, interrupted)
    assert 0.2 < seconds  # the caller may start late


@pytest.mark.proves("ebpf.syscall.duration", "ebpf.syscall.errors", oracle="known number")
@pytest.mark.parametrize(("action", "longest"), [("left", 0.1), ("within", 9)])
def test_handlers_that_do_not_return_or_are_interrupted_confuse_no_call(loaded, handled, rows, action, longest):
    """One call each: a call left by siglongjmp never ends."""
    calls, seconds, failed = read_by_signal(loaded, rows, handled(action))

    assert (1, 0) == (calls, failed)
    assert longest > seconds
    assert (seconds > 0.2) is (action == "within")


@pytest.mark.proves("ebpf.cache.read_attempts", "ebpf.syscall.duration", "ebpf.syscall.io", oracle="known number")
def test_processes_that_come_and_go_sixteen_at_once_are_counted_exactly(loaded, run, rows):
    """Sixteen rows of 20 processes, two reads of a cached page each, with no state left over."""
    dropped = loaded.drops.read()  # others may have made calls of 32 bits
    reported = run("storm.py", "sidecar-storm", 16, 20, 2)

    calls = rows(loaded, "syscall_stats", comm=b"sidecar-storm", syscall=NUMBER["preadv2"])
    threads, _ = loaded.maps["threads"].read()
    assert {"processes": 320, "failed": 0} == reported
    assert [640] == rows(loaded, "cache_stats_map", comm=b"sidecar-storm")["lookups"]
    assert (640, [640 * 512]) == (sum(calls["duration"]), calls["bytes"])
    assert 5 > sum(not Path(f"/proc/{tid}").exists() for tid in threads["key"].tolist())
    assert dropped == loaded.drops.read()
