# SPDX-License-Identifier: Apache-2.0
"""Owners of I/O where memory and io are on cgroup v2, as in guests: against io.stat of the cgroups."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
READ, WRITE, PAGE, SIZE = 0, 1, 4096, 4 << 20
WRITER = "import os, sys; open(sys.argv[1], 'wb').write(os.urandom(int(sys.argv[2])))"
READER = """
import mmap, os, sys
descriptor, buffer = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4096)
for page in range(int(sys.argv[2]) // 4096):
    os.preadv(descriptor, [buffer], 4096 * page)
"""


@contextmanager
def cgroup(above, *controllers):
    """A separate cgroup whose children have these controllers."""
    folder = above / f"sidecar-test-{len(controllers)}"
    folder.mkdir()
    for each in controllers:
        (folder / "cgroup.subtree_control").write_text(f"+{each}")
    try:
        yield folder
    finally:
        until = time.monotonic() + 30
        while "populated 1" in (folder / "cgroup.events").read_text() and time.monotonic() < until:
            time.sleep(0.1)
        folder.rmdir()


@pytest.fixture
def disk(tmp_path):
    """The number of the disk that holds temporary files."""
    return tmp_path.stat().st_dev


def run_in(cgroup, script, *arguments):
    """Run a script in a cgroup to its end."""
    command = [sys.executable, "-S", "-E", "-c", script, *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120, preexec_fn=lambda: (cgroup / "cgroup.procs").write_text("0"))


def kernels(cgroup, disk):
    """The cgroup's own counters of a disk: bytes and requests, those of cgroups below included."""
    begin = f"{os.major(disk)}:{os.minor(disk)} "
    lines = [line.removeprefix(begin) for line in (cgroup / "io.stat").read_text().splitlines() if begin in line]
    return {name: int(count) for line in lines for name, count in (word.split("=") for word in line.split())}


def counted(loaded, cgroup, disk, operation):
    """Bytes of requests of a cgroup, with a process's name and without."""
    keys, values = loaded.maps["block_stats"].read()
    device = os.major(disk) << 20 | os.minor(disk)
    mine = (keys["cgroup"] == cgroup.stat().st_ino) & (keys["device"] == device) & (keys["operation"] == operation)
    named, sizes = keys["comm"][mine] != b"", values[mine][:, loaded.maps["block_stats"].value_fields["size_sum"]]
    return int(sizes[named].sum()), int(sizes[~named].sum())


def written_back(path, cgroup):
    """Write a new file in a cgroup, whose process is gone when the flusher writes the pages."""
    run_in(cgroup, WRITER, path, SIZE)
    os.sync()


@pytest.mark.proves("ebpf.block.io.size", "ebpf.block.io.duration", oracle="wbytes in io.stat")
def test_written_back_pages_belong_to_the_cgroup_that_dirtied_them(load_once, disk, tmp_path):
    """Not to the kernel thread that writes them; and no process's name is made up for them."""
    loaded = load_once("block_io")
    with cgroup(ROOT) as own:
        written_back(tmp_path / "file", own)
        reported, kernel = counted(loaded, own, disk, WRITE), kernels(own, disk)["wbytes"]

    assert SIZE <= kernel
    assert (0, kernel) == reported


@pytest.mark.proves("ebpf.block.io.size", oracle="rbytes and wbytes in io.stat")
def test_without_io_enabled_own_requests_belong_to_the_submitters_cgroup(load_once, disk, tmp_path):
    """The bio's cgroup is the parent: the process's own requests are its own, writeback is the parent's."""
    loaded = load_once("block_io")
    with cgroup(ROOT) as above:
        (above / "below").mkdir()
        written_back(tmp_path / "file", above / "below")
        run_in(above / "below", READER, tmp_path / "file", SIZE)
        reported = [counted(loaded, each, disk, what) for each in (above, above / "below") for what in (READ, WRITE)]
        kernel = kernels(above, disk)
        (above / "below").rmdir()

    above_reads, above_writes, reads, writes = reported
    assert [(0, 0), (kernel["rbytes"], 0)] == [above_reads, reads]
    assert [(0, kernel["wbytes"]), (0, 0)] == [above_writes, writes]


@pytest.mark.proves("ebpf.block.io.size", "ebpf.block.io.duration", oracle="rbytes in io.stat")
def test_reads_that_wait_for_a_limit_belong_to_the_cgroup_of_the_reader(load_once, disk, tmp_path):
    """A kernel thread hands them to the disk once it is their turn."""
    loaded, file = load_once("block_io"), tmp_path / "file"
    file.write_bytes(bytes(SIZE // 8))
    os.sync()
    with cgroup(ROOT) as own:
        (own / "io.max").write_text(f"{os.major(disk)}:{os.minor(disk)} rbps={SIZE // 8}")
        run_in(own, READER, file, SIZE // 8)
        reported, kernel = counted(loaded, own, disk, READ), kernels(own, disk)["rbytes"]

    assert SIZE // 8 <= kernel == sum(reported)
    assert 0 < reported[1]


@pytest.mark.proves("ebpf.block.io.throttle.duration", oracle="the caller's own clock")
def test_the_wait_for_a_limit_is_what_the_reads_take(load_once, disk, tmp_path):
    """One after the other, at a rate far below the disk's own; all but the first few have to wait."""
    loaded, file = load_once("block_waits"), tmp_path / "file"
    file.write_bytes(bytes(SIZE // 8))
    os.sync()
    with cgroup(ROOT) as own:
        (own / "io.max").write_text(f"{os.major(disk)}:{os.minor(disk)} rbps={SIZE // 8}")
        started = time.monotonic()
        run_in(own, READER, file, SIZE // 8)
        took, requests = time.monotonic() - started, kernels(own, disk)["rios"]
        keys, values = loaded.maps["block_limits"].read()
        reported = values[keys["cgroup"] == own.stat().st_ino].sum(axis=0)

    fields = loaded.maps["block_limits"].value_fields
    assert 0 < reported[fields["duration"]].sum() <= requests
    assert 0.5 < reported[fields["duration_sum"]].sum() / 1e9 <= took
