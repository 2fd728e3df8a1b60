# SPDX-License-Identifier: Apache-2.0
"""Reads and writes through io_uring: they belong to the requesting process, whichever thread does the work."""

import ctypes
import mmap
import os

import pytest
from page_count_tolerance import near

PAGE = mmap.PAGESIZE
SIZE = 8 << 20
PAGES = SIZE // PAGE
READ, WRITE, MMAP, OTHER = range(4)
READING = ["one", "many", "workers", "kernel_polls", "user_polls"]
SETUP = 425


def why_not():
    """Why there is no io_uring here; empty when there is."""
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(SETUP, 1, ctypes.create_string_buffer(120))
    if ring < 0:
        return f"io_uring is not to be had here: {os.strerror(ctypes.get_errno())}"
    os.close(ring)
    return ""


pytestmark = [pytest.mark.parallel, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]


@pytest.fixture(scope="module", params=[("page_cache",), ("page_cache", "syscalls")], ids=["alone", "with syscalls"])
def loaded(attach_once, request):
    """The probe alone, and where io_uring_enter is followed as a system call."""
    return attach_once(*request.param)


@pytest.fixture
def data(tmp_path, forget):
    """A file that is on disk, and in the cache only where requested."""
    path = tmp_path / "data"
    path.write_bytes(os.urandom(SIZE))

    def data(*, cold):
        os.sync()
        if cold:
            forget(path)
        return path

    return data


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("use", READING)
def test_reads_belong_to_the_requesting_process(loaded, observe, data, use, cold):
    """Inline, by workers, and polled: lookups as requested, misses as in /proc/<pid>/io and the cache itself."""
    seen = observe(loaded, "rings.py", use, data(cold=cold), size=SIZE, step=4096)

    assert [near(PAGES)] * 2 == [seen.facts["pages"], seen.lookups]
    assert [near(PAGES if cold else 0)] * 3 == [seen.misses, seen.adds[READ] + seen.adds[MMAP], seen.grown]
    assert pytest.approx(seen.fetched, abs=64) == seen.adds[READ] + seen.adds[MMAP]
    assert near(0) == seen.adds[WRITE] + seen.adds[OTHER]


@pytest.mark.parametrize("use", ["many", "workers", "kernel_polls"])
def test_large_reads_that_overlap_in_time_count_once(loaded, observe, data, use):
    """Sixteen requests of 512 KiB at once. Where one waits for the disk, the kernel does not report all its lookups."""
    seen = observe(loaded, "rings.py", use, data(cold=True), size=SIZE, step=512 << 10)

    assert 0.75 * PAGES <= seen.lookups <= 1.005 * PAGES
    assert near(PAGES) == seen.adds[READ]
    assert pytest.approx(seen.fetched, abs=64) == seen.adds[READ]  # the map of its blocks comes from the disk, too


def test_requests_for_the_same_pages_count_each(loaded, observe, data):
    """Sixteen requests in one call, all for the same pages of a cached file."""
    seen = observe(loaded, "rings.py", "same", data(cold=False), size=SIZE, step=4096)

    assert near(PAGES) == seen.lookups
    assert near(0) == sum(seen.adds)


@pytest.mark.parametrize("use", ["written", "written_by_workers"])
def test_what_is_written_is_no_miss(loaded, observe, tmp_path, use):
    """The pages of a new file are added by write, and become dirty."""
    seen = observe(loaded, "rings.py", use, tmp_path / "new", size=SIZE, step=65536)

    assert [near(PAGES)] * 3 == [seen.grown, seen.dirtied, seen.adds[WRITE]]
    assert near(0) == seen.lookups + seen.adds[READ] + seen.adds[MMAP]
