# SPDX-License-Identifier: Apache-2.0
"""What the kernel counts for the whole machine, and for a file: /proc/vmstat, cachestat(2), mincore(2), getrusage.

Others work on the machine, too, at any time. So each comparison is made several times, and the one that was disturbed
least counts: a probe that is wrong is wrong every time.
"""

import mmap
import os
from pathlib import Path

import pytest

PAGE = mmap.PAGESIZE
SIZE = 32 << 20
PAGES = SIZE // PAGE
TIMES = 7
NEAR = 0.005 * PAGES
STEP = 65536


def vmstat(field):
    """One number of /proc/vmstat."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field} "))


@pytest.fixture(scope="module")
def loaded(attach_once):
    """The page cache's probe."""
    return attach_once("page_cache")


@pytest.fixture
def data(tmp_path):
    """A file on the disk."""
    path = tmp_path / "data"
    path.write_bytes(os.urandom(SIZE))
    return path


def least(compare):
    """The smallest of several differences; no more are taken when one is small enough."""
    found = []
    while len(found) < TIMES and min(found, default=NEAR + 1) > NEAR:
        found.append(abs(compare()))
    return min(found)


def test_pages_that_become_dirty_are_those_of_vmstat(loaded, observe, rows, tmp_path):
    """nr_dirtied: each page of a new file once, however large the folios are, and what others make dirty."""

    def compare():
        theirs, ours = -vmstat("nr_dirtied"), -rows(loaded, "cache_stats_map")["dirtied"][0]
        observe(loaded, "files.py", "written", tmp_path / "new", size=SIZE, step=STEP)
        theirs, ours = theirs + vmstat("nr_dirtied"), ours + rows(loaded, "cache_stats_map")["dirtied"][0]
        return theirs - ours if ours >= PAGES - NEAR else PAGES

    assert NEAR >= least(compare)


def test_pages_brought_in_are_those_of_vmstat(loaded, observe, rows, data, forget):
    """pgpgin, in units of 1024 bytes, is what was read from disks: all adds except those of new data."""

    def brought_in():
        adds = rows(loaded, "cache_stats_map")["adds"]
        return sum(adds) - adds[1]

    def compare():
        forget(data)
        theirs, ours = -vmstat("pgpgin") * 1024 // PAGE, -brought_in()
        observe(loaded, "files.py", "sequential", data, size=SIZE, step=STEP)
        theirs, ours = theirs + vmstat("pgpgin") * 1024 // PAGE, ours + brought_in()
        return theirs - ours if ours >= PAGES - NEAR else PAGES

    assert NEAR >= least(compare)


def test_pages_made_dirty_are_those_that_the_file_has(loaded, observe, tmp_path):
    """A new file that was not written to disk yet, by cachestat(2): dirty as a whole, or being written already."""

    def compare():
        (tmp_path / "new").unlink(missing_ok=True)
        seen = observe(loaded, "ways.py", "unwritten", tmp_path / "new", size=SIZE, step=STEP)
        if seen.dirty is None:
            pytest.skip("this kernel has no cachestat(2) (it came with 6.5)")
        assert pytest.approx(PAGES, rel=0.005) == seen.dirtied
        return seen.dirty - seen.dirtied

    assert NEAR >= least(compare)


def test_pages_removed_are_those_that_the_file_loses(loaded, observe, data):
    """fadvise(DONTNEED) of a file that is in the cache as a whole, by cachestat(2) or mincore(2)."""
    data.read_bytes()
    os.sync()

    seen = observe(loaded, "files.py", "dropped", data)

    assert -seen.grown == seen.removes == PAGES


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
def test_major_faults_mean_misses_of_mapped_files(loaded, observe, data, forget, cold):
    """getrusage: without one there are no adds by mmap; each one reads in at least a page."""
    data.read_bytes()
    if cold:
        forget(data)

    seen = observe(loaded, "ways.py", "faulted", data, size=SIZE)

    assert (seen.facts["major"] > 0) is (seen.adds[2] > 0) is cold
    assert seen.facts["major"] <= seen.adds[2]
    assert pytest.approx(seen.fetched, abs=4) == seen.adds[2]
