# SPDX-License-Identifier: Apache-2.0
"""Owners of requests: I/O that waits for its cgroup's limit is passed to the disk by a kernel thread."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from loop_devices import completed, loop_device

from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy
from ebpf_sidecar.receivers.ebpf.owners.io_cgroups import OF_IO
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import CgroupWatch

pytestmark = pytest.mark.parallel

ROOT = Path("/sys/fs/cgroup")
READ, PAGE, READS = 0, 4096, 64
READER = """
import mmap, os, sys
for cgroup in sys.argv[3:]:
    open(cgroup + "/cgroup.procs", "w").write("0")
descriptor, buffer = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4096)
for page in range(int(sys.argv[2])):
    os.preadv(descriptor, [buffer], 4096 * page)
"""


@pytest.fixture
def disk(tmp_path):
    """Of our own."""
    with loop_device(tmp_path / "disk") as disk:
        yield disk


@contextmanager
def cgroup(root, name):
    """One of our own."""
    folder = root / f"sidecar-{name}-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        folder.rmdir()


@pytest.fixture
def limited(disk):
    """A cgroup that may read 400 KiB per second from the disk, and the folder that rows are grouped by."""
    number, rows = disk.stat().st_rdev, find_hierarchy(ROOT).root
    which = f"{os.major(number)}:{os.minor(number)}"
    if (ROOT / "blkio").exists():
        with cgroup(ROOT / "blkio", "limited") as io, cgroup(rows, "rows") as reported:
            (io / "blkio.throttle.read_bps_device").write_text(f"{which} {400 << 10}")
            yield io, reported
    elif "io" in (rows / "cgroup.subtree_control").read_text().split():
        with cgroup(rows, "limited") as io:
            (io / "io.max").write_text(f"{which} rbps={400 << 10}")
            yield io, io
    else:
        pytest.skip("no cgroup here can have a limit for I/O")


def reading(disk, *folders):
    """A process in these cgroups that reads the disk's first pages past the cache, one after the other."""
    return subprocess.Popen([sys.executable, "-S", "-E", "-c", READER, disk, str(READS), *folders])


def requests_by_owner(loaded, disk):
    """How many reads each cgroup has, and whether with a process's name."""
    number = disk.stat().st_rdev
    keys, values = loaded.maps["block_stats"].read()
    mine = (keys["device"] == (os.major(number) << 20 | os.minor(number))) & (keys["operation"] == READ)
    counts = values[mine][:, loaded.maps["block_stats"].value_fields["duration"]].sum(axis=1).tolist()
    owners = zip(keys["cgroup"][mine].tolist(), keys["comm"][mine].tolist(), strict=True)
    return {(cgroup, bool(comm)): count for (cgroup, comm), count in zip(owners, counts, strict=True) if count}


def missed(loaded):
    """Requests whose end was not seen (DECISIONS.md)."""
    return loaded.drops.read()["completions"] + loaded.maps["requests"].entries()


def test_reads_that_wait_for_a_limit_belong_to_the_cgroup_of_the_reader(attach_once, disk, limited):
    """As many as the disk counts; those that a kernel thread handed on have no process's name."""
    loaded = attach_once("block_io", by_process=False)
    before = completed(disk)

    assert 0 == reading(disk, *dict.fromkeys(limited)).wait(timeout=60)

    found = requests_by_owner(loaded, disk)
    own = {owner: count for owner, count in found.items() if owner[0] == limited[1].stat().st_ino}
    assert READS == completed(disk) - before
    assert sum(own.values()) <= READS <= sum(own.values()) + missed(loaded)
    assert 0 < own[limited[1].stat().st_ino, False] < READS


def test_readers_that_share_a_limit_share_the_row_of_the_limited_cgroup(attach_once, disk, limited):
    """They cannot be distinguished then: the id is one of io's hierarchy, and is marked as such."""
    if limited[0] == limited[1]:
        pytest.skip("io and rows are of one hierarchy here")
    loaded = attach_once("block_io", by_process=False)
    before = completed(disk)

    with cgroup(find_hierarchy(ROOT).root, "other") as other:
        readers = [reading(disk, limited[0], folder) for folder in (limited[1], other)]
        assert [0, 0] == [reader.wait(timeout=60) for reader in readers]
        named = {folder.stat().st_ino for folder in (limited[1], other)}

    found = requests_by_owner(loaded, disk)
    passed_on = found.get((limited[0].stat().st_ino | OF_IO, False), 0)
    own = sum(count for (cgroup, _), count in found.items() if cgroup in named)
    assert 0 < passed_on
    assert 2 * READS == completed(disk) - before
    assert passed_on + own <= 2 * READS <= passed_on + own + missed(loaded)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({"cgroups": ["/sidecar-*"]}, READS), ({"executables": ["nobody"]}, 0)],
    ids=["cgroup", "name"],
)
def test_io_passed_on_for_a_cgroup_is_chosen_by_the_cgroup_and_never_by_name(attach, disk, limited, chosen, expected):
    """Kernel threads are never targets, but what they do on behalf of a cgroup belongs to it."""
    settings, rows = TargetSettings(kernel_threads=False, **chosen), find_hierarchy(ROOT)
    loaded = attach("block_io", by_process=False, targets=kernel_targets(settings, Path("/proc")))
    if loaded.targets:
        CgroupWatch(settings.cgroups, rows.root, loaded.targets, loaded.generation, lambda _: None).update()

    assert 0 == reading(disk, *dict.fromkeys(limited)).wait(timeout=60)

    counted = sum(requests_by_owner(loaded, disk).values())
    assert counted <= expected <= counted + missed(loaded)
