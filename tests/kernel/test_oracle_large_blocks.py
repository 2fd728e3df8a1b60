# SPDX-License-Identifier: Apache-2.0
"""A file system whose blocks are larger than a page: it reads in whole blocks, of which reads request a part."""

import mmap

import pytest
from file_systems import cold_file, mounted
from page_count_tolerance import near

PAGE = mmap.PAGESIZE
SIZE = 8 << 20
BLOCK = 16384
BLOCKS = SIZE // BLOCK
READ, WRITE, MMAP, OTHER, FILL = range(5)

pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def loaded(attach_once):
    """Both probes, which share their programs."""
    return attach_once("page_cache", "syscalls")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Xfs with blocks of 16 KiB; kernels before 6.12 cannot mount it."""
    with mounted("xfs", tmp_path_factory.mktemp("blocks"), making=["-b", f"size={BLOCK}"]) as folder:
        yield folder


@pytest.fixture
def cold(folder, forget):
    """A file on it that is in no cache."""
    with cold_file(folder, SIZE, forget) as path:
        yield path


@pytest.mark.parametrize("begin", [0, PAGE, 2 * PAGE, 3 * PAGE, 100, BLOCK - 100])
def test_pages_of_large_blocks_count_when_requested(loaded, observe, cold, begin):
    """By every call that reads; at the first time and at the second, when they are hits."""
    first, second = (observe(loaded, "ways.py", "in_blocks", cold, size=SIZE, step=begin) for _ in range(2))

    assert [near(first.facts["pages"])] * 3 == [first.lookups, first.misses, second.lookups]
    assert 0 == second.misses
    assert near(first.grown) == first.adds[READ]


def test_the_rest_of_a_block_is_a_miss_of_the_read_that_requests_it(loaded, observe, cold):
    """A page of each, and then all."""
    some = observe(loaded, "ways.py", "in_blocks", cold, size=SIZE, step=PAGE)
    all_of_it = observe(loaded, "files.py", "sequential", cold, size=SIZE, step=65536)

    assert [near(BLOCKS)] * 2 == [some.lookups, some.misses]
    assert (near(4 * BLOCKS), near(3 * BLOCKS)) == (all_of_it.lookups, all_of_it.misses)


@pytest.mark.parametrize(
    "way",
    [("ways.py", "to_socket", 65536), ("ways.py", "to_pipe", 65536), ("ways.py", "vectored", 65536),
     ("ways.py", "in_pieces", 0), ("ways.py", "ends", 65536), ("files.py", "sequential", PAGE),
     ("files.py", "sequential", SIZE)],
    ids=lambda way: "-".join(map(str, way[1:])),
)  # fmt: skip
def test_reads_of_any_kind_count_alike(loaded, observe, cold, way):
    """As on file systems with small blocks."""
    script, action, step = way
    seen = observe(loaded, script, action, cold, size=SIZE, step=step)

    assert near(seen.facts["pages"]) == seen.lookups
    assert action == "ends" or near(SIZE // PAGE) == seen.misses


def test_a_write_of_a_part_fills_a_whole_block(loaded, observe, cold):
    """A hundred bytes in every second block: the disk gives all four pages of it."""
    seen = observe(loaded, "transfers.py", "patched", cold, size=SIZE)

    assert [near(2 * BLOCKS)] * 2 == [seen.adds[FILL], seen.fetched]
    assert near(0) == seen.adds[WRITE] + seen.adds[READ]
