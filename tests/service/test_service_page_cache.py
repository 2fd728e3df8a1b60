# SPDX-License-Identifier: Apache-2.0
"""Known uses of a file, read back from /metrics, against what the kernel says it fetched for the process."""

import os
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

PAGE = 4096
MIB = 64
PAGES = MIB * 256
EXACT = 0.005
TRIES = 3

pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def big_file(tmp_path_factory):
    """64 MiB of random bytes."""
    path = tmp_path_factory.mktemp("cache") / "big"
    path.write_bytes(os.urandom(MIB << 20))
    return path


@pytest.fixture
def forget():
    """Write a file to disk and drop it from the page cache."""

    def forget(path):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)

    return forget


def counted(page, comm):
    """Attempts, misses and adds by cause of one executable."""
    name = "ebpf_page_cache_adds_total"
    adds = {cause: page.sum(name, comm=comm, cause=cause) for cause in ("read", "write", "mmap")}
    attempts = page.sum("ebpf_cache_read_attempts_total", comm=comm)
    return attempts, page.sum("ebpf_cache_misses_total", comm=comm), adds


def test_every_workload_is_counted_in_pages(serve, work, forget, big_file, tmp_path):
    """Cold, warm, mapped and written: attempts, misses and causes equal the file's pages and the kernel's own count."""
    service = serve(probes="[page_cache, syscalls]")
    cold = [("cold4k", "sequential", PAGE), ("cold64k", "sequential", 1 << 16), ("cold1m", "sequential", 1 << 20),
            ("coldrandom", "at_random", PAGE), ("threads8", "in_threads", 1 << 16)]  # fmt: skip
    fetched = {}
    for name, action, step in cold:
        forget(big_file)
        fetched[name] = work(name, "files.py", action, big_file, MIB, step)["fetched"] // PAGE
    work("warm", "files.py", "sequential", big_file, MIB, 1 << 16)
    forget(big_file)
    fetched["mapped"] = work("mapped", "files.py", "mapped", big_file, MIB, PAGE)["fetched"] // PAGE
    work("written", "files.py", "written", tmp_path / "new", MIB, 1 << 16)
    page = service.settled()

    for name, _, _ in cold:
        attempts, misses, adds = counted(page, name)
        assert pytest.approx(PAGES, rel=EXACT) == attempts, name
        assert pytest.approx(fetched[name], rel=EXACT) == misses == pytest.approx(adds["read"], rel=EXACT), name
        assert 16 > adds["write"], name
    attempts, misses, adds = counted(page, "warm")
    assert (pytest.approx(PAGES, rel=EXACT), True) == (attempts, misses < 16)
    attempts, misses, adds = counted(page, "mapped")
    assert pytest.approx(fetched["mapped"], rel=EXACT) == adds["mmap"]
    faults, mapped = (page.sum(f"ebpf_cache_mapped_{n}_total", comm="mapped") for n in ("faults", "misses"))
    assert (True, True) == (misses <= attempts < 64, 0 < mapped <= faults)
    attempts, misses, adds = counted(page, "written")
    assert pytest.approx(PAGES, rel=EXACT) == adds["write"]
    assert 16 > misses


def test_the_rate_processor_shows_the_hit_rate_of_the_interval(serve, work, forget, big_file):
    """All cold is a hit rate near 0, all warm near 100, in the interval in which it happened."""
    service = serve(interval=1.0, probes="[page_cache]")

    def rates(comm, *, cold=False):
        if cold:
            forget(big_file)
        # looked at while it runs, too: on a busy machine it may take several intervals
        with ThreadPoolExecutor(1) as aside:
            done = aside.submit(work, comm, "files.py", "sequential", big_file, MIB, 1 << 16)
            while not done.done():
                service.page()
                wait([done], service.interval / 5)
            done.result()
        service.settled()
        return [rate for page in service.pages for rate in page.rows("ebpf_cache_hit_rate_percent", comm=comm).values()]

    # nothing is seen if there was no reading for a whole interval; only then once more
    cold = next((shown for _ in range(TRIES) if (shown := rates("cold", cold=True))), [])
    warm = next((shown for _ in range(TRIES) if (shown := rates("warm"))), [])

    assert 5 > min(cold)
    assert 95 < max(warm)


def test_a_process_that_lives_between_two_readings_is_counted(serve, work, forget, big_file):
    """It came after one reading and was gone before the next; all its pages are there."""
    service = serve(interval=2.0, probes="[page_cache]")
    service.settled()
    forget(big_file)
    fetched = work("shortlived", "files.py", "sequential", big_file, MIB, 1 << 20)["fetched"] // PAGE
    page = service.settled()

    assert pytest.approx(fetched, rel=EXACT) == page.sum("ebpf_cache_misses_total", comm="shortlived")


@pytest.mark.kernel_alone
def test_thousands_of_short_lived_processes_are_counted_and_leave_nothing(serve, work, full_length):
    """Every read of every process is there; no kernel entry, thread or row is left for each of them.

    Ten thousand at full length, otherwise two.
    """
    processes = 10_000 if full_length else 2_000
    service = serve(cleanup="clear_after_read", cleanup_interval="1s")
    before = service.settled()
    done = work("manychildren", "processes.py", processes, 2)
    work("nochildren", "processes.py", 0, 2)
    page = service.settled()
    count, startup = (
        page.sum("ebpf_syscall_duration_seconds_count", comm=comm, syscall="pread64")
        for comm in ("manychildren", "nochildren")
    )
    threads = [p.sum("ebpf_map_entries", map="threads") for p in (before, page)]

    assert done["reads"] == count - startup
    assert 1 == len(page.rows("ebpf_cache_read_attempts_total", comm="manychildren"))
    assert threads[1] < threads[0] + 50
    assert {} == page.lost("page_cache", "syscalls")
