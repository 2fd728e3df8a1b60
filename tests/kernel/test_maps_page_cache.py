# SPDX-License-Identifier: Apache-2.0
import os

import pytest

PAGE = 4096
SIZE = 64  # MiB
PAGES = SIZE * 256
READ, WRITE, MMAP = 0, 1, 2
TOLERANCE = 0.005

pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def big_file(tmp_path_factory):
    """A file of 64 MiB for all tests."""
    path = tmp_path_factory.mktemp("cache") / "big"
    path.write_bytes(os.urandom(SIZE << 20))
    return path


@pytest.fixture
def measure(attach_once, run, rows, forget):
    """Run an action under the probe: what the probe counted, and what the kernel itself says was fetched."""
    loaded = attach_once("page_cache")

    def measure(action, path, size, step, *, cold):
        if cold:
            forget(path)
        reported = run("files.py", action, path, size, step)
        counted = rows(loaded, "cache_stats_map", reported["pid"])
        return counted["lookups"][0], counted["adds"], counted["removes"][0], reported["fetched"] // PAGE

    return measure


@pytest.fixture
def startup(measure, big_file):
    """Pages that the interpreter looks up for itself."""
    return measure("nothing", big_file, 0, 0, cold=False)[0]


def near(expected):
    """Within half a percent."""
    return pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("action", "step"), [("sequential", 4096), ("sequential", 65536), ("sequential", 1 << 20), ("at_random", 4096)]
)
def test_cold_reads_of_any_size_count_each_page_once(measure, startup, big_file, action, step):
    """Lookups and adds by read equal the file's pages, and adds what the kernel fetched from disk."""
    lookups, adds, _, fetched = measure(action, big_file, SIZE, step, cold=True)

    assert near(PAGES) == lookups - startup
    assert near(PAGES) == adds[READ]
    assert near(fetched) == adds[READ]
    assert 0 == adds[WRITE]


@pytest.mark.parametrize("step", [4096, 65536, 1 << 20])
def test_warm_reads_are_lookups_without_adds(measure, startup, big_file, run, step):
    """What is in the cache is looked up and not added."""
    run("files.py", "sequential", big_file, SIZE, 1 << 20)

    lookups, adds, _, fetched = measure("sequential", big_file, SIZE, step, cold=False)

    assert near(PAGES) == lookups - startup
    assert 16 > fetched
    assert 16 > sum(adds)


@pytest.mark.parametrize("action", ["mapped", "populated"])
def test_a_cold_mapped_file_is_added_by_mmap(measure, startup, big_file, action):
    """Page faults and MAP_POPULATE have a cause of their own, and are no lookups on the read path."""
    lookups, adds, _, fetched = measure(action, big_file, SIZE, PAGE, cold=True)

    assert near(PAGES) == adds[MMAP]
    assert near(fetched) == adds[MMAP]
    assert 16 > lookups - startup


def test_writing_a_new_file_never_counts_as_misses(measure, startup, tmp_path):
    """All pages are added by write, none by read or mmap."""
    lookups, adds, _, fetched = measure("written", tmp_path / "new", SIZE, 65536, cold=False)

    assert near(PAGES) == adds[WRITE]
    assert 16 > adds[READ] + adds[MMAP]
    assert 16 > fetched
    assert 16 > lookups - startup


def test_eight_threads_are_one_process(measure, startup, big_file):
    """Threads that read parts of a file at the same time lose nothing and split no row."""
    lookups, adds, _, fetched = measure("in_threads", big_file, SIZE, 65536, cold=True)

    assert near(PAGES) == lookups - startup
    assert near(fetched) == adds[READ]


def test_a_read_beyond_the_end_counts_only_existing_pages(measure, startup, tmp_path):
    """A read of 1 MiB of a file of one page looks up one page."""
    (tmp_path / "small").write_bytes(b"x" * PAGE)

    lookups, *_ = measure("oversized", tmp_path / "small", 1, 1 << 20, cold=False)

    assert 23 == lookups - startup


def test_removes_belong_to_the_process_that_removes(measure, big_file):
    """fadvise(DONTNEED) of a whole file removes all its pages."""
    _, _, removes, _ = measure("dropped", big_file, SIZE, 1 << 20, cold=False)

    assert near(PAGES) == removes


def test_a_process_that_ends_between_two_readings_is_not_lost(attach_once, run, rows, big_file):
    """The map is read for the first time after the process is gone."""
    loaded = attach_once("page_cache")
    reader, idle = (run("files.py", action, big_file, SIZE, 1 << 20)["pid"] for action in ("sequential", "nothing"))

    counted = [rows(loaded, "cache_stats_map", pid)["lookups"][0] for pid in (reader, idle)]

    assert near(PAGES) == counted[0] - counted[1]


def test_a_full_map_is_counted_and_not_silent(attach, run):
    """With little room for rows, 200 processes overflow the map, and each loss is counted under the map's name."""
    loaded = attach("page_cache", budget=230 << 10)

    run("processes.py", 200, 1)

    room = loaded.maps["cache_stats_map"].max_entries
    assert 64 <= room < 150
    assert 200 - loaded.maps["cache_stats_map"].entries() <= loaded.drops.read()["cache_stats_map"]
