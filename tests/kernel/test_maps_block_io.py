# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

READ, WRITE = 0, 1
ATTEMPTS = 20
"""At worst a machine's kernel hides two completions in a thousand from all programs (DECISIONS.md)."""
OPERATIONS = {"read": READ, "write": WRITE, "randread": READ, "randwrite": WRITE}


def device_of(path):
    """The disk that holds ``path``: its number as the kernel writes it, and its counters' file."""
    number = path.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    disk = device.parent if (device / "partition").exists() else device
    major, minor = (disk / "dev").read_text().strip().split(":")
    return int(major) << 20 | int(minor), disk / "stat"


def completed(stat, operation):
    """Requests and sectors of one operation since boot."""
    fields = [int(field) for field in stat.read_text().split()]
    return (fields[0], fields[2]) if operation == READ else (fields[4], fields[6])


def fio(folder, kind, block, count):
    """Direct I/O of ``count`` blocks by one process: its id, and the requests and bytes that fio says it did."""
    command = [
        "fio",
        "--name=test",
        f"--directory={folder}",
        f"--rw={kind}",
        f"--bs={block}",
        f"--size={block * count}",
    ]
    command += ["--direct=1", "--ioengine=psync", "--fallocate=none", "--filename=fio.data", "--thread"]
    process = subprocess.Popen([*command, "--output-format=json"], stdout=subprocess.PIPE)
    job = json.loads(process.communicate(timeout=120)[0])["jobs"][0]["read" if OPERATIONS[kind] == READ else "write"]
    return process.pid, (job["total_ios"], job["io_bytes"])


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
@pytest.mark.parametrize(
    ("kind", "block"), [("randread", 4096), ("read", 65536), ("randwrite", 4096), ("write", 65536)]
)
def test_requests_and_bytes_equal_what_fio_and_the_kernel_count(attach, rows, tmp_path, kind, block):
    """1,000 direct requests are 1,000, of the same bytes, and the disk's own counters agree."""
    fio(tmp_path, "write", block, 1000)  # lay the file out first
    os.sync()
    device, stat = device_of(tmp_path)
    for _ in range(ATTEMPTS):
        first = completed(stat, OPERATIONS[kind])
        loaded = attach("block_io")
        before = completed(stat, OPERATIONS[kind])
        pid, reported = fio(tmp_path, kind, block, 1000)
        after = completed(stat, OPERATIONS[kind])
        counted = rows(loaded, "block_stats", pid, device=device, operation=OPERATIONS[kind])
        everyone = rows(loaded, "block_stats", device=device, operation=OPERATIONS[kind])
        last = completed(stat, OPERATIONS[kind])
        if not missed(loaded) and reported == (sum(counted["duration"]), counted["size_sum"][0]):
            break  # else a completion was hidden from all programs, or fio had to load its own libraries again

    assert (1000, 1000 * block) == reported
    assert reported == (sum(counted["duration"]), counted["size_sum"][0])
    assert {upper_bound_of(block): 1000} == {i: count for i, count in enumerate(counted["size"]) if count}
    # others use the disk as well: the kernel's counters were read before and after each of our two readings
    hidden = 4 + missed(loaded)  # and what ends just while one of both is read
    assert after[0] - before[0] - hidden <= sum(everyone["duration"]) <= last[0] - first[0] + hidden
    assert after[1] - before[1] - hidden * 2048 <= everyone["size_sum"][0] / 512 <= last[1] - first[1] + hidden * 2048


def upper_bound_of(size):
    """The place of the bucket for requests of a power of two: the first one has those of up to 512 bytes."""
    return [512 << i for i in range(16)].index(size)


def missed(loaded):
    """Requests that started but whose end was not seen."""
    return loaded.drops.read()["completions"] + loaded.maps["requests"].entries()


def test_nothing_stays_in_flight(attach, run, file_of):
    """When the work is done, no request is remembered."""
    loaded = attach("block_io")
    path = file_of(16 << 20)

    run("files.py", "sequential", path, 16, 1 << 20)
    os.sync()

    assert 16 >= loaded.maps["requests"].entries()


def test_a_queued_request_waits_before_it_is_issued(attach, rows, run, file_of):
    """Where the disk has a scheduler, queue times are counted, never more than requests."""
    loaded = attach("block_io", by_process=False)

    run("files.py", "sequential", file_of(16 << 20), 16, 1 << 20)

    counted = rows(loaded, "block_stats", comm=b"sequential")
    assert 0 < sum(counted["duration"])
    assert sum(counted["queue"]) <= sum(counted["duration"])


@pytest.fixture
def broken_disk(tmp_path):
    """A loop device of 16 MiB whose file is in a file system of 1 MiB: most writes fail."""
    if shutil.which("losetup") is None:
        pytest.skip("losetup is not installed")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    (folder / "disk").touch()
    os.truncate(folder / "disk", 16 << 20)
    made = subprocess.run(
        ["losetup", "--find", "--show", folder / "disk"], stdout=subprocess.PIPE, text=True, check=False
    )
    if made.returncode == 0:
        yield Path(made.stdout.strip())
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)
    subprocess.run(["umount", folder], check=True)
    if made.returncode != 0:
        pytest.skip("no loop device can be made here")


def test_a_failed_request_is_an_error_of_its_owner(attach, broken_disk):
    """Each write that the program sees fail with EIO or ENOSPC is a failed request."""
    loaded = attach("block_io", by_process=True)

    with broken_disk.open("rb") as device:
        number = os.fstat(device.fileno()).st_rdev
    command = ["fio", "--name=test", f"--filename={broken_disk}", "--rw=write", "--bs=64k", "--size=8m", "--direct=1"]
    command += ["--ioengine=psync", "--continue_on_error=write", "--output-format=json"]
    reported = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False)
    failed = json.loads(reported.stdout[reported.stdout.index(b"{") :])["jobs"][0]["total_err"]

    keys, values = loaded.maps["block_errors"].read()
    mine = (keys["device"] == (os.major(number) << 20 | os.minor(number))) & (keys["operation"] == WRITE)
    assert 0 < failed == values[mine].sum()
    assert {errno.EIO, errno.ENOSPC} >= set(keys["error"][mine].tolist())


def deep(folder, *more):
    """Many concurrent requests of one fio process."""
    command = ["fio", "--name=test", f"--directory={folder}", "--filename=fio.data", "--ioengine=libaio", "--direct=1"]
    return subprocess.Popen([*command, "--iodepth=16", "--thread", *more], stdout=subprocess.DEVNULL)


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_merges_equal_what_the_kernel_counts(attach, rows, tmp_path):
    """Adjacent small writes, submitted 16 at a time: each is merged, is a request, or is known to be missing."""
    fio(tmp_path, "write", 65536, 256)
    os.sync()
    device, stat = device_of(tmp_path)
    batches = ["--rw=write", "--bs=4k", "--size=16m", "--iodepth_batch=16", "--iodepth_batch_complete=16"]
    for _ in range(ATTEMPTS):
        loaded = attach("block_io")
        before = [int(field) for field in stat.read_text().split()]
        process = deep(tmp_path, *batches)
        process.wait(timeout=120)
        after = [int(field) for field in stat.read_text().split()]
        counted = rows(loaded, "block_stats", process.pid, device=device, operation=WRITE)
        everyone = rows(loaded, "block_stats", device=device)
        reported = counted["merged"][0] + sum(counted["duration"])
        assert reported <= 4096 <= reported + missed(loaded)
        if reported == 4096:
            break  # else a completion was hidden from all programs

    assert reported == 4096
    assert 1000 < counted["merged"][0] < 4096
    assert everyone["merged"][0] == pytest.approx(after[1] + after[5] - before[1] - before[5], abs=64)


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_requests_in_flight_are_as_many_as_are_waited_for(attach, rows, tmp_path):
    """Not more than fio keeps going, some of the time nearly as many, and none afterwards.

    The kernel copies a row while others write to it, so that one reading in a thousand may be far off.
    """
    fio(tmp_path, "write", 65536, 256)
    os.sync()
    loaded = attach("block_io")
    process = deep(tmp_path, "--rw=randread", "--bs=4k", "--size=16m", "--time_based", "--runtime=2")
    seen = []
    while process.poll() is None:
        seen.append(in_flight(rows(loaded, "block_stats", process.pid, operation=READ)))

    most = sorted(seen)[len(seen) * 98 // 100]
    assert 8 <= most <= 16 + missed(loaded)
    assert in_flight(rows(loaded, "block_stats", process.pid, operation=READ)) <= missed(loaded)


def in_flight(counted):
    """As the metric shows it."""
    return counted["issued"][0] - sum(counted["duration"]) - counted["requeued"][0] - counted["lost"][0]
