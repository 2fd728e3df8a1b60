# SPDX-License-Identifier: Apache-2.0
"""Every kind of request, on a disk that no other process uses: all numbers are exactly the kernel's own for that
disk."""

import errno
import mmap
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ftrace_lines import durations_between, request_of

READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES = 0, 1, 2, 3, 9
MIB = 1 << 20
STAT = {"reads": 0, "read_merges": 1, "read_sectors": 2, "writes": 4, "write_merges": 5, "write_sectors": 6,
        "discards": 11, "discard_sectors": 13, "flushes": 15}  # fmt: skip

pytestmark = pytest.mark.parallel


class Disk:
    """A loop device of 16 MiB of our own: it has a write cache, and can discard and write zeroes."""

    def __init__(self, file, *options):
        self.file = file
        self.made = subprocess.run(
            ["losetup", "--find", "--show", *options, file], stdout=subprocess.PIPE, text=True, check=False
        )
        self.path = Path(self.made.stdout.strip())

    @property
    def folder(self):
        return Path("/sys/block") / self.path.name

    @property
    def number(self):
        major, minor = (self.folder / "dev").read_text().strip().split(":")
        return int(major) << 20 | int(minor)

    def stat(self):
        """What the kernel counted for it, by name; flushes from 5.5 on."""
        fields = [int(field) for field in (self.folder / "stat").read_text().split()]
        return {name: fields[place] for name, place in STAT.items()}

    def schedule(self, name):
        """Give it this scheduler, or skip the test."""
        choice = self.folder / "queue/scheduler"
        if name not in choice.read_text():
            pytest.skip(f"this kernel has no scheduler {name}")
        choice.write_text(name)

    def detach(self):
        if self.made.returncode == 0:
            subprocess.run(["losetup", "--detach", self.path], check=True)


@pytest.fixture
def disk(tmp_path):
    """Make a disk with these options of losetup."""
    if shutil.which("losetup") is None:
        pytest.skip("losetup is not installed")
    made = []

    def disk(*options):
        (tmp_path / "disk").write_bytes(os.urandom(16 * MIB))
        made.append(Disk(tmp_path / "disk", *options))
        if made[-1].made.returncode != 0:
            pytest.skip("no loop device can be made here")
        return made[-1]

    yield disk
    for each in made:
        each.detach()


def whole(disk, *options):
    """Commands on the whole disk."""
    subprocess.run([*options, disk.path], check=True, stdout=subprocess.DEVNULL)


def direct(disk, flags, size, places):
    """Calls of ``size`` bytes at these places, past the page cache."""
    descriptor = os.open(disk.path, flags | os.O_DIRECT)
    room = mmap.mmap(-1, size)
    for place in places:
        (os.preadv if flags & os.O_ACCMODE == os.O_RDONLY else os.pwritev)(descriptor, [room], place)
    os.close(descriptor)


def discards(disk):
    """One large one, which the kernel may split."""
    whole(disk, "blkdiscard", "--offset=1MiB", "--length=8MiB")


def zeroes(disk):
    """Without sending them."""
    whole(disk, "blkdiscard", "--zeroout", "--offset=1MiB", "--length=8MiB")


def flushes(disk):
    """Each fsync of a disk with a write cache flushes it."""
    descriptor = os.open(disk.path, os.O_RDWR)
    for place in range(10):
        os.pwrite(descriptor, b"x" * 4096, place * 65536)
        os.fsync(descriptor)
    os.close(descriptor)


def durable_writes(disk):
    """Each is written through the cache, and flushed once more at the end of the call."""
    direct(disk, os.O_RDWR | os.O_DSYNC, 4096, range(0, MIB, 65536))


def sequential(disk):
    """Read-ahead turns small reads into large requests."""
    with disk.path.open("rb", buffering=0) as file:
        while file.read(4096):
            pass


def large(disk):
    """Larger than what a request may be: split into several."""
    direct(disk, os.O_RDONLY, 4 * MIB, range(0, 16 * MIB, 4 * MIB))


def writeback(disk):
    """Adjacent dirty pages at once."""
    with disk.path.open("r+b") as file:
        file.write(os.urandom(4 * MIB))
        file.flush()
        os.fsync(file.fileno())


# what is seen, and how often somebody asks for a flush alone: the kernel counts that as a write of nothing, too, which
# never goes to the device
WORK = {
    discards: ({"discards"}, 0),
    zeroes: ({"writes"}, 0),
    flushes: ({"writes", "flushes"}, 10),
    durable_writes: ({"writes", "flushes"}, 16),
    sequential: ({"reads"}, 0),
    large: ({"reads"}, 0),
    writeback: ({"writes", "flushes"}, 1),
}


@pytest.mark.parametrize("scheduler", ["none", "mq-deadline"])
@pytest.mark.parametrize("work", WORK)
def test_all_requests_of_a_disk_are_the_kernels(attach_once, rows, disk, work, scheduler):
    """Number, bytes and merges of each operation equal /sys/block/<disk>/stat; nothing stays in flight."""
    mine = disk()
    mine.schedule(scheduler)
    loaded = attach_once("block_io")
    before, counted = mine.stat(), reported(loaded, rows, mine)  # a disk before this one had the same number
    work(mine)
    after, now = mine.stat(), reported(loaded, rows, mine)

    grown = {name: after[name] - before[name] for name in STAT}
    seen, alone = WORK[work]
    assert {**grown, "writes": grown["writes"] - alone} == {name: now[name] - counted[name] for name in STAT}
    assert seen <= {name for name, count in grown.items() if count}
    assert 0 == in_flight(rows(loaded, "block_stats", device=mine.number))


def reported(loaded, rows, disk):
    """What the probe says, in the kernel's words; it counts zeroes that are written among the writes."""

    def of(operation):
        return rows(loaded, "block_stats", device=disk.number, operation=operation)

    reads, writes, zeroes, gone = of(READ), of(WRITE), of(WRITE_ZEROES), of(DISCARD)
    return {
        "reads": sum(reads["duration"]),
        "read_sectors": reads["size_sum"][0] // 512,
        "read_merges": reads["merged"][0],
        "writes": sum(writes["duration"]) + sum(zeroes["duration"]),
        "write_sectors": (writes["size_sum"][0] + zeroes["size_sum"][0]) // 512,
        "write_merges": writes["merged"][0] + zeroes["merged"][0],
        "discards": sum(gone["duration"]),
        "discard_sectors": gone["size_sum"][0] // 512,
        "flushes": sum(of(FLUSH)["duration"]),
    }


@pytest.mark.parametrize(("scheduler", "waits"), [("none", False), ("mq-deadline", True)])
def test_only_a_scheduler_lets_requests_wait(attach, rows, disk, scheduler, waits):
    """With one, each read has waited once; without, none has."""
    mine = disk()
    mine.schedule(scheduler)
    loaded = attach("block_io")
    direct(mine, os.O_RDONLY, 4096, range(0, 16 * MIB, 65536))

    counted = rows(loaded, "block_stats", device=mine.number, operation=READ)
    assert 256 == sum(counted["duration"])
    assert sum(counted["queue"]) == (256 if waits else 0)


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_seconds_that_requests_wait_equal_those_that_the_kernel_traces(attach, rows, disk, traced):
    """From insert to issue of the same request, while fio requests more than the disk takes at once."""
    mine = disk()
    mine.schedule("mq-deadline")
    (mine.folder / "queue/nomerges").write_text("2")
    loaded = attach("block_io")
    command = ["fio", "--name=x", f"--filename={mine.path}", "--rw=randread", "--bs=4k", "--direct=1"]
    with traced("block/block_rq_insert", "block/block_rq_issue") as lines:
        subprocess.run([*command, "--ioengine=libaio", "--iodepth=512"], stdout=subprocess.DEVNULL, check=True)

    name = " {},{} ".format(*divmod(mine.number, 1 << 20))
    waited = durations_between([line for line in lines if name in line], request_of, "insert", "issue")
    counted = rows(loaded, "block_stats", device=mine.number)
    assert 4096 <= len(waited) == sum(counted["queue"])
    assert sum(waited) == pytest.approx(counted["queue_sum"][0], rel=0.1)


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_requests_in_flight_equal_the_kernels_count(attach, rows, disk):
    """Read alternately while fio keeps 16 reads going: the same on average, and nothing at the end."""
    mine = disk("--direct-io=on")
    loaded = attach("block_io")
    command = ["fio", "--name=x", f"--filename={mine.path}", "--rw=randread", "--ioengine=libaio", "--direct=1"]
    command += ["--iodepth=16", "--time_based", "--runtime=2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    ours, kernels = [], []
    while process.poll() is None:
        ours.append(in_flight(rows(loaded, "block_stats", device=mine.number)))
        kernels.append(sum(map(int, (mine.folder / "inflight").read_text().split())))

    assert 1 < max(kernels)
    assert sum(ours) / len(ours) == pytest.approx(sum(kernels) / len(kernels), abs=2)
    assert 0 == in_flight(rows(loaded, "block_stats", device=mine.number))


def in_flight(counted):
    """As the metric shows it."""
    return counted["issued"][0] - sum(counted["duration"]) - counted["requeued"][0] - counted["lost"][0]


def test_a_request_completed_in_parts_counts_once_with_all_its_bytes(attach, rows, disk):
    """The disk's file ends in the middle of a request: one half is read, the rest is requeued and fails."""
    mine = disk("--direct-io=on")
    os.truncate(mine.file, MIB + 65536)
    loaded = attach("block_io")
    before = mine.stat()
    with pytest.raises(OSError, match="Input/output error"):
        direct(mine, os.O_RDONLY, 2 * 65536, [MIB])
    after = mine.stat()

    counted = rows(loaded, "block_stats", device=mine.number, operation=READ)
    keys, values = loaded.maps["block_errors"].read()
    if not counted["requeued"][0]:
        pytest.skip("this kernel's loop devices do not finish a request in parts")
    assert (1, 2 * 65536, 1) == (sum(counted["duration"]), counted["size_sum"][0], counted["requeued"][0])
    assert after["reads"] - before["reads"] == 1
    assert (after["read_sectors"] - before["read_sectors"]) * 512 == counted["size_sum"][0]
    assert [errno.EIO] == keys["error"][keys["device"] == mine.number].tolist()
    assert 1 == values[keys["device"] == mine.number].sum()
