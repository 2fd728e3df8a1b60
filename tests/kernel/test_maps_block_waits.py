# SPDX-License-Identifier: Apache-2.0
"""I/O before it becomes a request."""

import mmap
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ftrace_lines import durations_between, request_of
from loop_devices import completed, loop_device

pytestmark = pytest.mark.parallel

PAGE, READS = 4096, 64
LARGE = 64 * PAGE


@pytest.fixture
def disk(tmp_path):
    """Of our own."""
    with loop_device(tmp_path / "disk", READS * LARGE) as disk:
        yield disk


def read_at_once(disk, readers):
    """Read a page at a time past the cache, by as many threads."""
    descriptor = os.open(disk, os.O_RDONLY | os.O_DIRECT)
    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(lambda page: os.preadv(descriptor, [mmap.mmap(-1, PAGE)], PAGE * page), range(READS)))
    os.close(descriptor)


def read_in_one_call(disk):
    """Read the whole disk by a single io_submit, past the cache, one request per part."""
    options = {"name": "x", "filename": disk, "rw": "randread", "bs": LARGE, "direct": 1, "ioengine": "libaio"}
    options |= {"iodepth": READS, "iodepth_batch_submit": READS, "iodepth_batch_complete_min": READS}
    subprocess.run(["fio", *(f"--{name}={value}" for name, value in options.items())], check=True, capture_output=True)


def waits(loaded, disk):
    """Count and seconds of a disk's waits for requests."""
    number, found = disk.stat().st_rdev, loaded.maps["block_waits"]
    keys, values = found.read()
    mine = values[keys["device"] == (os.major(number) << 20 | os.minor(number))].sum(axis=0)
    fields = found.value_fields
    return int(mine[fields["duration"]].sum()), int(mine[fields["duration_sum"]].sum())


@contextmanager
def four_requests(disk):
    """No more at a time: the fewest that the kernel allows. None is merged with another."""
    folder = Path("/sys/block") / disk.name / "queue"
    if "mq-deadline" not in (folder / "scheduler").read_text():
        pytest.skip("the kernel has no scheduler mq-deadline")
    (folder / "scheduler").write_text("mq-deadline")
    (folder / "nr_requests").write_text("4")
    (folder / "nomerges").write_text("2")
    yield


def test_every_request_has_one_wait_where_all_are_counted(attach_once, disk):
    """As many as the disk counts, whichever thread submitted them."""
    loaded = attach_once("block_waits", chosen={"block_waits": {"shortest_wait": 0}})
    before, counted = completed(disk), waits(loaded, disk)[0]

    read_at_once(disk, 2)

    assert READS <= completed(disk) - before == waits(loaded, disk)[0] - counted


@pytest.mark.alone
@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_seconds_waited_for_a_request_equal_those_that_the_kernel_traces(attach_once, disk, traced):
    """All but the first four reads have to wait until one before them has ended."""
    loaded = attach_once("block_waits", chosen={"block_waits": {"shortest_wait": 0}})
    before = waits(loaded, disk)[1]

    with four_requests(disk), traced("block/block_bio_queue", "block/block_getrq") as lines:
        read_in_one_call(disk)

    number = disk.stat().st_rdev
    mine = [line for line in lines if f" {os.major(number)},{os.minor(number)} " in line]
    waited = durations_between(mine, request_of, "bio_queue", "getrq")
    missing = 1000 * READS  # the trace is in microseconds
    assert (READS, True) == (len(waited), sum(waited) > 10 * missing)
    assert sum(waited) == pytest.approx(waits(loaded, disk)[1] - before, rel=0.05, abs=missing)


def test_what_did_not_wait_is_not_counted(attach_once, disk):
    """A second is more than any of these reads takes."""
    loaded = attach_once("block_waits", chosen={"block_waits": {"shortest_wait": 10**9}})

    read_at_once(disk, 1)

    assert (0, 0) == waits(loaded, disk)
