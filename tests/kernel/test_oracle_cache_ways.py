# SPDX-License-Identifier: Apache-2.0
"""Every way into the page cache: lookups as the workload requests, adds as the kernel counts them."""

import mmap
import os

import pytest
from page_count_tolerance import near

from ebpf_sidecar.receivers.ebpf.kernel.refusals import release_of

PAGE = mmap.PAGESIZE
SIZE = 8 << 20
PAGES = SIZE // PAGE
READ, WRITE, MMAP, OTHER = range(4)
STEP = 65536

READING = [
    ("ways.py", "to_socket", STEP),
    ("ways.py", "to_pipe", STEP),
    ("ways.py", "vectored", STEP),
    ("ways.py", "in_pieces", 0),
    ("ways.py", "shared", STEP),
    ("files.py", "sequential", 4096),
    ("files.py", "sequential", SIZE),
    ("files.py", "at_random", STEP),
]

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


def roughly(pages):
    """As `near`; on older kernels several threads may be charged with the same pages at the same time."""
    return near(pages) if release_of(os.uname().release) >= (5, 18) else pytest.approx(pages, rel=0.05)


def maps_included(pages):
    """What the disk reads for so many pages of files, including maps of their blocks and of free ones."""
    return pytest.approx(pages, rel=0.01, abs=64)


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("way", READING, ids=lambda way: "-".join(map(str, way[1:])))
def test_reads_of_any_kind_count_alike(loaded, observe, data, way, cold):
    """Lookups are what is requested; misses what the disk gave (/proc/<pid>/io) and what is new in the cache."""
    script, action, step = way
    seen = observe(loaded, script, action, data(cold=cold), size=SIZE, step=step)

    assert near(seen.facts["pages"]) == seen.lookups
    pages = PAGES if cold else 0
    assert near(pages) == seen.adds[READ] + seen.adds[MMAP]
    assert (roughly(pages) if action == "shared" else near(pages)) == seen.misses
    assert maps_included(seen.adds[READ]) == seen.fetched
    assert near(seen.grown) == seen.adds[READ]


@pytest.mark.parametrize(("script", "action"), [("transfers.py", "read_ahead"), ("ways.py", "willneed")])
def test_prefetched_pages_are_added_and_not_looked_up(loaded, observe, data, script, action):
    """By readahead and fadvise(WILLNEED): no read has requested them yet."""
    seen = observe(loaded, script, action, data(cold=True), size=SIZE, step=STEP)

    assert (0, 0) == (seen.lookups, seen.misses)
    assert near(seen.grown) == seen.adds[READ]
    assert maps_included(seen.adds[READ]) == seen.fetched
    assert near(PAGES) == seen.adds[READ]


def test_holes_are_misses_without_disk_reads(loaded, observe, data):
    """A sparse file's pages come into the cache as others do, filled with zeros."""
    path = data(cold=False)

    seen = observe(loaded, "transfers.py", "holes", path, size=SIZE, step=STEP, about=path.with_name("data.sparse"))

    assert [near(PAGES)] * 3 == [seen.lookups, seen.misses, seen.adds[READ]]
    assert near(seen.grown) == seen.adds[READ]
    assert maps_included(0) == seen.fetched


@pytest.mark.parametrize(
    ("script", "action"), [("transfers.py", "past_end"), ("ways.py", "ends"), ("ways.py", "direct")]
)
def test_only_existing_pages_of_a_file_are_looked_up(loaded, observe, data, script, action):
    """Behind the end, of length 0, up to the end, and past the cache (O_DIRECT)."""
    seen = observe(loaded, script, action, data(cold=False), size=SIZE, step=STEP)

    made_behind = 23 if action == "past_end" and release_of(os.uname().release) < (5, 12) else 0
    assert near(seen.facts.get("pages", 0)) == seen.lookups
    assert near(made_behind) == sum(seen.adds)  # some kernels add a page before they check for the end of the file


def test_direct_io_adds_nothing(loaded, observe, data):
    """All of the file comes from the disk, and none of it is in the cache afterwards."""
    seen = observe(loaded, "ways.py", "direct", data(cold=True), size=SIZE, step=STEP)

    assert (maps_included(PAGES), near(0)) == (seen.fetched, seen.grown)
    assert (near(0), near(0)) == (seen.lookups, sum(seen.adds))


def test_blocks_that_are_only_allocated_are_no_pages(loaded, observe, data):
    """By fallocate of a whole new file."""
    seen = observe(loaded, "ways.py", "allocated", data(cold=False), size=SIZE)

    assert (0, near(0)) == (seen.lookups, sum(seen.adds))


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
def test_reads_that_may_not_wait_count_what_they_find(loaded, observe, data, cold):
    """RWF_NOWAIT: what is not there is not looked up, but the kernel starts to bring it in."""
    seen = observe(loaded, "ways.py", "unwilling", data(cold=cold), size=SIZE, step=STEP)

    assert near(seen.facts["pages"]) == pytest.approx(seen.lookups, abs=STEP // PAGE)
    assert maps_included(seen.adds[READ]) == seen.fetched
    assert cold or not seen.facts["waits"]  # a disk that is as quick as memory leaves nothing to wait for


def test_a_file_truncated_while_it_is_read_counts_what_was_there(loaded, observe, data):
    """Four readers, a fifth thread truncates: lookups are near what the reads returned, pages come and go."""
    seen = observe(loaded, "ways.py", "truncated", data(cold=True), size=SIZE // 4, step=STEP)

    assert pytest.approx(seen.lookups, rel=0.02, abs=64) == seen.facts["pages"]
    assert seen.grown == pytest.approx(seen.adds[READ] - seen.removes, abs=8)  # the interpreter may map more of itself
    assert 0 < seen.removes
    assert 1000 < seen.lookups


def test_files_that_are_executed_are_added_by_the_kernel(loaded, observe, data):
    """The kernel reads a program's first page in execve: cause other."""
    seen = observe(loaded, "transfers.py", "executed", data(cold=False))

    assert near(seen.facts["pages"]) == seen.adds[OTHER]
    assert near(0) == seen.adds[READ] + seen.adds[MMAP]
