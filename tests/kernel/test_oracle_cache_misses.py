# SPDX-License-Identifier: Apache-2.0
"""Which requested pages are misses, and which faults on mapped files; what writes have to read."""

import mmap

import pytest
from page_count_tolerance import near

PAGE = mmap.PAGESIZE
SIZE = 8 << 20
PAGES = SIZE // PAGE
READ, WRITE, MMAP, OTHER, FILL = range(5)
STEP = 65536
SLACK = 8  # the interpreter's own faults; and no tracepoint reports those that map a huge page, of which there are 4

pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def loaded(attach_once):
    """Both probes, which share their programs."""
    return attach_once("page_cache", "syscalls")


@pytest.fixture
def cold(file_of):
    """A file that is on disk and in no cache."""
    return file_of(SIZE)


@pytest.mark.parametrize("action", ["heads", "later", "by_another", "after_a_mapping", "rewritten"])
def test_a_page_read_ahead_is_a_miss_of_the_first_read_that_requests_it(loaded, observe, cold, action):
    """However long ago it came in, for whichever process; pages that a fault or a write brought in are no misses."""
    seen = observe(loaded, "asking.py", action, cold, size=SIZE, step=STEP)

    assert near(seen.facts["pages"]) == seen.lookups
    assert near(seen.facts["misses"]) == seen.misses


def test_read_ahead_pages_that_are_never_read_are_adds_and_no_misses(loaded, observe, cold):
    """Of the first pages of a hundred files, the kernel reads in more than is requested."""
    seen = observe(loaded, "asking.py", "heads", cold)

    assert (300, 100) == (seen.lookups, seen.misses)
    assert seen.adds[READ] > 2 * seen.misses


@pytest.mark.parametrize("megabytes", [8, 32])
def test_one_call_may_read_a_whole_file(loaded, observe, file_of, megabytes):
    """Beyond 16 MiB pages are charged when they come."""
    size = megabytes << 20

    seen = observe(loaded, "asking.py", "in_one_call", file_of(size), size=size)

    assert [near(size // PAGE)] * 3 == [seen.lookups, seen.misses, seen.adds[READ]]


def test_reads_that_may_not_wait_leave_what_they_bring_in_to_those_that_do(loaded, observe, cold):
    """RWF_NOWAIT: of what such a read does not get it is not charged."""
    first = observe(loaded, "ways.py", "unwilling", cold, size=SIZE, step=STEP)
    second = observe(loaded, "files.py", "sequential", cold, size=SIZE, step=STEP)

    assert first.misses <= first.lookups
    assert pytest.approx(PAGES, abs=STEP // PAGE) == first.misses + second.misses
    assert near(PAGES) == first.adds[READ] + second.adds[READ]


@pytest.mark.parametrize("action", ["mapped", "mapped_randomly", "populated"])
def test_faults_on_mapped_files_are_those_that_the_kernel_counts(loaded, observe, cold, action):
    """Misses are at least the major ones: a thread may read further ahead in a fault on a page that is there."""
    seen = observe(loaded, "files.py", action, cold, size=SIZE)
    minor, major = seen.faults

    assert pytest.approx(minor + major, abs=SLACK) == seen.mapped_faults
    assert max(1, major) <= seen.mapped_misses <= seen.mapped_faults
    assert action != "mapped_randomly" or major == seen.mapped_misses == PAGES // 16
    assert (near(0), near(0)) == (seen.lookups, seen.misses)


def test_faults_on_pages_that_are_in_the_cache_are_no_misses(loaded, observe, cold):
    """The kernel maps sixteen pages at once."""
    observe(loaded, "files.py", "mapped", cold, size=SIZE)

    seen = observe(loaded, "files.py", "mapped", cold, size=SIZE)

    assert pytest.approx(sum(seen.faults), abs=SLACK) == seen.mapped_faults
    assert PAGES // 16 <= seen.mapped_faults
    assert [near(0)] * 2 == [seen.mapped_misses, seen.faults[1]]


def test_pages_that_a_write_has_to_read_first_have_their_own_cause(loaded, observe, cold):
    """Pages that are written in part: the disk gives the rest, for no read."""
    seen = observe(loaded, "transfers.py", "patched", cold, size=SIZE)

    assert (0, 0, near(0)) == (seen.lookups, seen.misses, seen.adds[READ])
    assert [near(seen.facts["pages"])] * 2 == [seen.adds[FILL], seen.dirtied]
    assert pytest.approx(seen.adds[FILL], rel=0.01, abs=8) == seen.fetched
    assert near(0) == seen.adds[WRITE]
