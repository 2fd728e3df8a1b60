# SPDX-License-Identifier: Apache-2.0
"""Other file systems, each on its own loop device, with the default read-ahead of disks; and tmpfs."""

import mmap
import os
from pathlib import Path

import pytest
from file_systems import MAKING, cold_file, mounted
from page_count_tolerance import near

PAGE = mmap.PAGESIZE
SIZE = 16 << 20
PAGES = SIZE // PAGE
READ, WRITE, MMAP = range(3)
STEP = 512 << 10
SLACK = 8

pytestmark = pytest.mark.parallel


def maps_included(pages):
    """What the disk reads for so many pages of a file, including maps of its blocks and checksums."""
    return pytest.approx(pages, rel=0.02, abs=64)


@pytest.fixture(scope="module")
def loaded(attach_once):
    """Both probes, which share their programs."""
    return attach_once("page_cache", "syscalls")


@pytest.fixture(scope="module", params=list(MAKING))
def folder(request, tmp_path_factory):
    """A folder in a file system of its own, until the last test of this file that uses it ends."""
    with mounted(request.param, tmp_path_factory.mktemp(request.param)) as folder:
        yield folder


@pytest.fixture
def data(folder, forget):
    """A file on that file system, in no cache."""
    with cold_file(folder, SIZE, forget) as path:
        yield path


@pytest.mark.parametrize("step", [4096, 65536, 1 << 20, SIZE])
def test_cold_reads_are_right_on_every_file_system(loaded, observe, data, step):
    """Reads that have to wait for read-ahead, too: the kernel does not report the pages that they got before."""
    seen = observe(loaded, "files.py", "sequential", data, size=SIZE, step=step)

    assert [near(PAGES)] * 2 == [seen.lookups, seen.misses]
    assert [near(PAGES)] * 2 == [seen.adds[READ], seen.grown]
    assert maps_included(PAGES) == seen.fetched


def test_mapped_files_are_right_on_every_file_system(loaded, observe, data):
    """Faults."""
    seen = observe(loaded, "files.py", "mapped", data, size=SIZE)

    assert [near(0)] * 2 == [seen.lookups, seen.misses]
    assert [near(PAGES)] * 2 == [seen.adds[MMAP], seen.grown]
    assert 0 < seen.mapped_misses <= seen.mapped_faults
    assert maps_included(PAGES) == seen.fetched


@pytest.mark.parametrize("action", ["sent", "spliced", "copied"])
def test_copies_are_right_on_every_file_system(loaded, observe, data, action):
    """What is read, and what is written; the self-test's workload copies 8 MiB."""
    copied = (8 << 20) // PAGE

    seen = observe(loaded, "transfers.py", action, data, size=SIZE, step=65536)

    assert [near(copied)] * 3 == [seen.lookups, seen.misses, seen.adds[WRITE]]
    assert near(seen.grown) == seen.adds[READ]
    assert maps_included(seen.adds[READ]) == seen.fetched


def test_new_files_are_right_on_every_file_system(loaded, observe, data):
    """Written, dirty, and no miss."""
    seen = observe(loaded, "files.py", "written", data.with_name("data-new"), size=SIZE, step=65536)

    assert [near(PAGES)] * 2 == [seen.adds[WRITE], seen.grown]
    assert maps_included(PAGES) == seen.dirtied
    assert near(0) == seen.adds[READ] + seen.adds[MMAP]


@pytest.fixture
def half_compressed(tmp_path_factory, forget):
    """A file of pieces that do not compress, and do, in turn."""
    with mounted("btrfs", tmp_path_factory.mktemp("compressed"), "loop,compress-force=zlib") as folder:
        path = folder / "data"
        with path.open("wb") as file:
            for place in range(0, SIZE, STEP // 2):
                file.write(bytes(STEP // 2) if place % STEP else os.urandom(STEP // 2))
                os.fsync(file)
        forget(path)
        yield path


def test_direct_reads_past_the_cache_are_not_looked_up(loaded, observe, half_compressed):
    """Btrfs reads the compressed half of each through the cache, and the other one from the disk."""
    seen = observe(loaded, "ways.py", "direct", half_compressed, size=SIZE, step=STEP)

    assert PAGES // 2 <= seen.grown <= 0.55 * PAGES
    assert PAGES // 2 <= seen.lookups <= 0.55 * PAGES  # it turns to the cache a few pages early
    assert near(seen.grown) == sum(seen.adds) - seen.removes


@pytest.fixture
def memory():
    """A file in tmpfs."""
    path = Path(f"/dev/shm/ebpf-sidecar-test-{os.getpid()}")
    kinds = {line.split()[1]: line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}
    if kinds.get("/dev/shm") != "tmpfs":
        pytest.skip("/dev/shm is no tmpfs")
    path.write_bytes(bytes(SIZE))
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("action", ["sequential", "mapped", "written"])
def test_files_in_memory_are_neither_looked_up_nor_added(loaded, observe, memory, action):
    """Their pages are in memory because they are nowhere else: no hits, no misses, nothing that becomes dirty."""
    seen = observe(loaded, "files.py", action, memory, size=SIZE, step=65536)

    assert [near(0)] * 3 == [seen.lookups, sum(seen.adds), seen.dirtied]
    assert SLACK > seen.mapped_faults  # of the interpreter


def test_pages_of_files_in_memory_count_when_they_are_removed(loaded, observe, memory):
    """The kernel reports that as for any file."""
    seen = observe(loaded, "files.py", "unlinked", memory)

    assert near(PAGES) == seen.removes


HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


@pytest.fixture
def huge_pages():
    """Two huge pages more than there are."""
    before = int(HUGE.read_text()) if HUGE.exists() else pytest.skip("this kernel has no huge pages of 2 MiB")
    HUGE.write_text(str(before + 2))
    there = int(HUGE.read_text()) >= before + 2
    yield there or pytest.skip("there is no memory for huge pages")
    HUGE.write_text(str(before))


@pytest.mark.usefixtures("huge_pages")
def test_huge_pages_of_programs_are_no_misses(loaded, observe, tmp_path):
    """Shared memory of databases (hugetlbfs) is a file for the kernel; nothing is read in."""
    seen = observe(loaded, "ways.py", "huge", tmp_path / "none", size=4 << 20)

    assert near(0) == sum(seen.adds)
