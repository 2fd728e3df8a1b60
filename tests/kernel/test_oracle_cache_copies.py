# SPDX-License-Identifier: Apache-2.0
"""Calls that copy from one file to another: which pages come from where."""

import mmap
import os

import pytest
from page_count_tolerance import near

PAGE = mmap.PAGESIZE
SIZE = 8 << 20
PAGES = SIZE // PAGE
READ, WRITE, MMAP, OTHER = range(4)
STEP = 65536
COPYING = ["sent", "spliced", "copied"]

pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def loaded(attach_once):
    """Both probes, which share their programs."""
    return attach_once("page_cache", "syscalls")


@pytest.fixture
def data(tmp_path, forget):
    """A file that is on disk, and in the cache only where requested."""
    path = tmp_path / "data"

    def data(*, cold):
        path.write_bytes(os.urandom(SIZE))
        os.sync()
        if cold:
            forget(path)
        return path

    return data


def maps_included(pages):
    """What the disk reads for so many pages of files, including maps of their blocks and of free ones."""
    return pytest.approx(pages, rel=0.01, abs=64)


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("action", COPYING)
def test_what_a_call_copies_from_a_file_is_read(loaded, observe, data, action, cold):
    """Of the source each page is looked up once, and missed where the disk had to give it."""
    seen = observe(loaded, "transfers.py", action, data(cold=cold), size=SIZE, step=STEP)

    assert near(PAGES) == seen.lookups
    assert [near(PAGES if cold else 0)] * 2 == [seen.adds[READ], seen.grown]
    assert maps_included(seen.adds[READ]) == seen.fetched


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("action", COPYING)
def test_what_a_call_copies_into_a_file_is_written_and_no_miss(loaded, observe, data, action, cold):
    """The pages of the target are added by write, as its cached pages show; those of the source by read."""
    path = data(cold=cold)

    seen = observe(loaded, "transfers.py", action, path, size=SIZE, step=STEP, about=path.with_name("data.target"))

    assert near(PAGES) == seen.adds[WRITE]
    assert near(seen.grown) == seen.adds[WRITE]
    assert near(PAGES) == seen.dirtied
    assert near(PAGES if cold else 0) == seen.adds[READ]


def test_what_comes_out_of_a_pipe_into_a_file_is_written(loaded, observe, tmp_path):
    """The same call, splice, but nothing is read from a file."""
    seen = observe(loaded, "ways.py", "from_pipe", tmp_path / "new", size=SIZE, step=STEP)

    assert (0, near(PAGES), 0, 0) == (seen.lookups, seen.adds[WRITE], *seen.adds[READ:WRITE], seen.adds[MMAP])
    assert near(seen.grown) == seen.adds[WRITE]
