# SPDX-License-Identifier: Apache-2.0
"""A disk that is busy or broken on command: the kernel's own scsi_debug, which a guest may load."""

import errno
import mmap
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

MODULES = Path("/run/modules")
DRIVER = Path("/sys/bus/pseudo/drivers/scsi_debug")
READ, PAGE = 0, 4096
MEDIUM_ERROR, HOST_BUSY = 2, 0x8000
BAD_SECTOR = 0x1234
"""Where scsi_debug has its medium errors."""


@pytest.fixture(scope="module")
def disk():
    """A disk in memory, read directly: its device file."""
    modules = sorted(MODULES.glob("*.ko"))
    if not modules:
        pytest.skip(f"the guest has no modules in {MODULES}")
    for module in modules:
        words = ["dev_size_mb=8", "statistics=1", "delay=0"] if "scsi_debug" in module.name else []
        subprocess.run(["insmod", module, *words], check="scsi_debug" in module.name, capture_output=True)
    until = time.monotonic() + 60
    while not (found := list(DRIVER.glob("adapter*/host*/target*/*:*/block/sd*"))):
        assert time.monotonic() < until
        time.sleep(0.1)
    return Path("/dev") / found[0].name


@contextmanager
def misbehaving(how, every=1):
    """The disk does so at every nth command."""
    (DRIVER / "opts").write_text(hex(how))
    (DRIVER / "every_nth").write_text(str(every))
    try:
        yield
    finally:
        (DRIVER / "every_nth").write_text("0")
        (DRIVER / "opts").write_text("0")


def read_pages(disk, offsets):
    """Read a page at each offset past the cache: the numbers of the errors."""
    descriptor, buffer, failed = os.open(disk, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, PAGE), []
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
def test_medium_errors_equal_those_that_the_caller_saw(disk, load_once, rows):
    """Five reads of a bad place, and one of a good one."""
    loaded = load_once("block_io")
    bad = BAD_SECTOR * 512 // PAGE * PAGE

    with misbehaving(MEDIUM_ERROR):
        failed = read_pages(disk, [0] + [bad] * 5)

    keys, values = loaded.maps["block_errors"].read()
    mine = keys["device"] == number_of(disk)
    counted = dict(zip(keys["error"][mine].tolist(), values[mine].sum(axis=1).tolist(), strict=True))
    assert 5 == len(failed)
    assert {errno.ENODATA: 5} == counted
