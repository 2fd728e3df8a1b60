# SPDX-License-Identifier: Apache-2.0
"""A disk that is busy or broken on command: the kernel's own scsi_debug, which a guest may load."""

import errno
import mmap
import os
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import shuffle

import pytest
from ftrace_lines import durations_between, event_of, request_of

MODULES = Path("/run/modules")
DRIVER = Path("/sys/bus/pseudo/drivers/scsi_debug")
READ, PAGE = 0, 4096
MEDIUM_ERROR, HOST_BUSY = 2, 0x8000
BAD_SECTOR = 0x1234
"""Where scsi_debug has its medium errors."""
WAYS_TO_MERGE = {"block_bio_backmerge", "block_bio_frontmerge", "block_rq_merge"}
ATTEMPTS = 10


@pytest.fixture(scope="module")
def disk():
    """A disk in memory, read directly: its device file."""
    modules = sorted(MODULES.glob("*.ko"))
    if not modules:
        pytest.skip(f"the guest has no modules in {MODULES}")
    for module in (
        modules if not DRIVER.exists() else ()
    ):  # failed tests are run again, by a new pytest in the same guest
        words = ["dev_size_mb=8", "statistics=1", "delay=0"] if "scsi_debug" in module.name else []
        subprocess.run(["insmod", module, *words], check="scsi_debug" in module.name, capture_output=True)
    until = time.monotonic() + 60
    while not (found := list(DRIVER.glob("adapter*/host*/target*/*:*/block/sd*"))):
        assert time.monotonic() < until
        time.sleep(0.1)
    return Path("/dev") / found[0].name


@contextmanager
def misbehaving(how, every=1):
    """Let the disk misbehave at every nth command."""
    (DRIVER / "opts").write_text(hex(how))
    (DRIVER / "every_nth").write_text(str(every))
    try:
        yield
    finally:
        (DRIVER / "every_nth").write_text("0")
        (DRIVER / "opts").write_text("0")


def read_pages(disk, offsets, meanwhile=None):
    """Read a page at each offset past the cache, in the context ``meanwhile``: the numbers of the errors."""
    descriptor, buffer, failed = os.open(disk, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, PAGE), []
    with meanwhile or nullcontext():
        for offset in offsets:
            try:
                os.preadv(descriptor, [buffer], offset)
            except OSError as error:
                failed.append(error.errno)
    os.close(descriptor)
    return failed


def number_of(disk):
    """As in the probe's keys."""
    device = disk.stat().st_rdev
    return os.major(device) << 20 | os.minor(device)


@pytest.mark.proves("ebpf.block.io.requeues", "ebpf.block.io.in_flight", oracle="scsi_dispatch_cmd_error")
def test_requests_that_a_busy_disk_gives_back_equal_what_its_driver_refused(disk, load_once, rows, traced):
    """Every 7th command is refused; each is tried again until it is done, and counts once as done."""
    loaded = load_once("block_io")
    before = rows(loaded, "block_stats", device=number_of(disk), operation=READ)

    with misbehaving(HOST_BUSY, every=7), traced("scsi/scsi_dispatch_cmd_error") as refused:
        failed = read_pages(disk, range(0, 100 * PAGE, PAGE))

    after = rows(loaded, "block_stats", device=number_of(disk), operation=READ)
    counted = {name: sum(after[name]) - sum(before[name]) for name in ("requeued", "duration", "issued", "lost")}
    assert [] == failed
    assert 14 <= len(refused)
    assert {"requeued": len(refused), "duration": 100, "issued": 100 + len(refused), "lost": 0} == counted


@pytest.mark.proves("ebpf.block.io.errors", oracle="the caller's errno")
def test_medium_errors_equal_those_that_the_caller_saw(disk, load_once):
    """Five reads of a bad place, and one of a good one."""
    loaded = load_once("block_io")
    before = errors_of(loaded, disk)
    bad = BAD_SECTOR * 512 // PAGE * PAGE

    with misbehaving(MEDIUM_ERROR):
        failed = read_pages(disk, [0] + [bad] * 5)

    assert 5 == len(failed)
    assert {errno.ENODATA: 5} == errors_of(loaded, disk) - before


def errors_of(loaded, disk):
    """How often each error was counted."""
    keys, values = loaded.maps["block_errors"].read()
    mine, counted = keys["device"] == number_of(disk), Counter()
    for error, count in zip(keys["error"][mine].tolist(), values[mine].sum(axis=1).tolist(), strict=True):
        counted[error] += count
    return counted


@pytest.mark.parametrize("scheduler", ["none", "mq-deadline"])
@pytest.mark.proves("ebpf.block.io.errors", oracle="the caller's errno")
def test_errors_of_a_disk_that_is_gone_equal_those_that_the_caller_saw(disk, load_once, scheduler):
    """Nothing is issued to it any more: the requests fail on their way."""
    loaded = load_once("block_io")
    before = errors_of(loaded, disk)

    with scheduled(disk, scheduler):
        failed = read_pages(disk, range(0, 5 * PAGE, PAGE), set_to(disk, "device/state", "offline"))

    assert 5 == len(failed)
    assert Counter(failed) == errors_of(loaded, disk) - before


@contextmanager
def set_to(disk, name, value):
    """A setting of the disk for a while."""
    path = Path("/sys/block") / disk.name / name
    before = path.read_text()
    path.write_text(f"{value}\n")  # the driver insists on the line's end
    try:
        yield
    finally:
        path.write_text(before)


@contextmanager
def scheduled(disk, name):
    """With this scheduler; the current one is in brackets."""
    path = Path("/sys/block") / disk.name / "queue/scheduler"
    before = path.read_text().partition("[")[2].partition("]")[0]
    path.write_text(name)
    try:
        yield
    finally:
        path.write_text(before)


@contextmanager
def slow(disk):
    """One command at a time, of some milliseconds: all others wait for the scheduler."""
    with scheduled(disk, "mq-deadline"), set_to(disk, "device/queue_depth", "1"):
        (DRIVER / "delay").write_text("1")
        try:
            yield
        finally:
            (DRIVER / "delay").write_text("0")


def write_pages_at_once(disk, offsets):
    """Write a page at each offset past the cache, by as many threads."""
    descriptor, buffer = os.open(disk, os.O_WRONLY | os.O_DIRECT), mmap.mmap(-1, PAGE)
    with ThreadPoolExecutor(len(offsets)) as pool:
        list(pool.map(lambda offset: os.pwritev(descriptor, [buffer], offset), offsets))
    os.close(descriptor)


@pytest.mark.proves("ebpf.block.io.queue.duration", oracle="block_rq_insert and block_rq_issue")
def test_seconds_that_requests_wait_equal_those_that_the_kernel_traces(disk, load_once, rows, traced):
    """From insert to issue of the same request."""
    loaded = load_once("block_io")
    before = rows(loaded, "block_stats", device=number_of(disk))

    with slow(disk), traced("block/block_rq_insert", "block/block_rq_issue") as lines:
        write_pages_at_once(disk, range(0, 64 * 65536, 65536))

    after = rows(loaded, "block_stats", device=number_of(disk))
    waited = durations_between([line for line in lines if f" {name_of(disk)} " in line], request_of, "insert", "issue")
    assert 64 == len(waited) == sum(after["queue"]) - sum(before["queue"])
    assert sum(waited) == pytest.approx(after["queue_sum"][0] - before["queue_sum"][0], rel=0.1)


@pytest.mark.proves("ebpf.block.io.wait.duration", oracle="block_bio_queue and block_getrq")
def test_seconds_that_writers_wait_for_a_tag_equal_those_that_the_kernel_traces(disk, load_once, rows, traced):
    """Four requests at a time, and 64 writers."""
    loaded = load_once("block_waits")
    before = rows(loaded, "block_waits", device=number_of(disk))

    with (
        slow(disk),
        set_to(disk, "queue/nr_requests", "4"),
        traced("block/block_bio_queue", "block/block_getrq") as lines,
    ):
        write_pages_at_once(disk, range(0, 64 * 65536, 65536))

    after = rows(loaded, "block_waits", device=number_of(disk))
    waited = durations_between(
        [line for line in lines if f" {name_of(disk)} " in line], request_of, "bio_queue", "getrq"
    )
    assert 64 == len(waited) >= sum(after["duration"]) - sum(before["duration"]) > 32
    assert sum(waited) == pytest.approx(after["duration_sum"][0] - before["duration_sum"][0], rel=0.1)


def name_of(disk):
    """As the kernel traces it."""
    device = disk.stat().st_rdev
    return f"{os.major(device)},{os.minor(device)}"


@pytest.mark.proves("ebpf.block.io.merges", oracle="/sys/block/<disk>/stat")
def test_merges_equal_what_the_kernel_counts_for_the_disk(disk, load_once, rows, traced):
    """Adjacent pages are written in any order: they are appended and prepended to waiting requests, and fill gaps."""
    loaded, places, ways = load_once("block_io"), list(range(0, 64 * PAGE, PAGE)), set()
    for _ in range(ATTEMPTS):
        shuffle(places)
        before = rows(loaded, "block_stats", device=number_of(disk)), kernels_merges(disk)

        with slow(disk), traced(*(f"block/{way}" for way in WAYS_TO_MERGE)) as lines:
            write_pages_at_once(disk, places)

        after = rows(loaded, "block_stats", device=number_of(disk)), kernels_merges(disk)
        counted = {name: sum(after[0][name]) - sum(before[0][name]) for name in ("merged", "duration")}
        assert 0 < after[1] - before[1] == counted["merged"] == 64 - counted["duration"]
        ways |= {event_of(line) for line in lines}
        if ways == WAYS_TO_MERGE:
            break  # otherwise the kernel handled them in order

    assert ways == WAYS_TO_MERGE


def kernels_merges(disk):
    """Of reads and of writes."""
    fields = (Path("/sys/block") / disk.name / "stat").read_text().split()
    return int(fields[1]) + int(fields[5])
