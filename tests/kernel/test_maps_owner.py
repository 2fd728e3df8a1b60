# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy

NUMBER = syscall_table().numbers
WORKLOAD = Path(__file__).parent / "workloads" / "files.py"
PROCESSES = WORKLOAD.with_name("processes.py")

pytestmark = pytest.mark.parallel


@pytest.fixture
def cgroup():
    """A cgroup of our own in the hierarchy that identifies containers."""
    folder = find_hierarchy(Path("/sys/fs/cgroup")).root / f"sidecar-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.rmdir()


def own_cgroup():
    """The directory of our own cgroup."""
    hierarchy = find_hierarchy(Path("/sys/fs/cgroup"))
    wanted = "" if hierarchy.controller == "v2" else hierarchy.controller
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    path = next(path for _, controllers, path in lines if wanted in controllers.split(","))
    return hierarchy.root / path.lstrip("/")


def named(path):
    """An interpreter whose processes have the name of ``path``, which no other process on the machine has."""
    path.symlink_to(Path(sys.executable).resolve())
    return path


def joined(folder):
    """For a child before exec: what a container runtime does."""
    return lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))


def test_a_row_carries_the_inode_of_the_cgroups_directory(attach_once, cgroup, file_of):
    """So it can still be attributed when its process is gone."""
    loaded = attach_once("page_cache", by_process=False)
    path = file_of(1 << 20)

    subprocess.run(
        [sys.executable, "-S", "-E", WORKLOAD, "sequential", path, "1", "4096"],
        preexec_fn=joined(cgroup), stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip

    keys, values = loaded.maps["cache_stats_map"].read()
    mine = (keys["cgroup"] == cgroup.stat().st_ino) & (keys["comm"] == b"sequential")
    assert 256 <= values[mine][:, 0].sum()


def test_unified_ids_are_inodes_too(attach, file_of):
    """In a separate v2 hierarchy, also next to v1 controllers."""
    root = next(
        (p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (p / "cgroup.controllers").exists()),
        None,
    )
    if root is None:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    folder = root / f"sidecar-test-{os.getpid()}"
    folder.mkdir()
    loaded = attach("page_cache", by_process=False, cgroup_hierarchy="v2")

    subprocess.run(
        [sys.executable, "-S", "-E", WORKLOAD, "sequential", file_of(1 << 20), "1", "4096"],
        preexec_fn=joined(folder), stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip

    keys, values = loaded.maps["cache_stats_map"].read()
    inode = folder.stat().st_ino
    folder.rmdir()
    assert 256 <= values[keys["cgroup"] == inode][:, 0].sum()


def test_threads_with_names_of_their_own_share_the_process_row(attach_once, run, file_of):
    """A JVM names its threads; the row keeps the name of the process."""
    loaded = attach_once("page_cache", by_process=True)

    pid = run("files.py", "in_threads", file_of(8 << 20), 8, 65536)["pid"]

    keys, _ = loaded.maps["cache_stats_map"].read()
    names = set(keys["comm"][keys["tgid"] == pid].tolist())
    assert not [name for name in names if name.startswith(b"reader")]


def test_a_process_that_renames_itself_goes_on_under_its_new_name(attach_once, run, rows, file_of):
    """In its first thread, in those that were there before, and in new ones; the old name keeps what was before."""
    loaded = attach_once("page_cache", "syscalls")

    pid = run("files.py", "renamed", file_of(768 * 4096), 3, 4096)["pid"]

    by_name = [rows(loaded, "cache_stats_map", pid, comm=name)["lookups"][0] for name in (b"new-name", b"renamed")]
    assert [768, 1] == by_name


@pytest.mark.kernel_alone
def test_thousands_of_processes_leave_no_state_and_lose_nothing(attach, full_length, tmp_path):
    """Each makes two reads of one cached page: so many lookups, one row, no thread left.

    Ten thousand at full length, otherwise two.
    """
    processes = 10_000 if full_length else 2_000
    loaded = attach("page_cache", "syscalls", by_process=False)

    subprocess.run([named(tmp_path / "sidecar-many"), "-S", "-E", PROCESSES, str(processes), "2"],
                   stdout=subprocess.DEVNULL, check=True)  # fmt: skip

    threads, _ = loaded.maps["threads"].read()
    dead = [tid for tid in threads["key"].tolist() if not Path(f"/proc/{tid}").exists()]
    keys, values = loaded.maps["cache_stats_map"].read()
    mine = (keys["comm"] == b"sidecar-many") & (keys["cgroup"] == own_cgroup().stat().st_ino)
    assert 1 == mine.sum()
    assert 2 * processes <= values[mine][0, 0] <= 2 * processes + 1_000
    assert 20 > len(dead)  # others live and die here, too
    assert {} == {name: lost for name, lost in loaded.drops.read().items() if lost}


def test_processes_that_come_and_go_sixteen_at_once_are_counted_exactly(attach, run, rows):
    """Sixteen rows of 250 processes, two reads of a cached page each."""
    loaded = attach("page_cache", "syscalls", by_process=False)

    reported = run("storm.py", "sidecar-storm", 16, 250, 2)

    pages = rows(loaded, "cache_stats_map", comm=b"sidecar-storm")["lookups"]
    calls = rows(loaded, "syscall_stats", comm=b"sidecar-storm", syscall=NUMBER["preadv2"])
    assert {"processes": 4000, "failed": 0} == reported
    assert ([8000], 8000, [8000 * 512]) == (pages, sum(calls["duration"]), calls["bytes"])
    assert {} == {name: lost for name, lost in loaded.drops.read().items() if lost}


def test_processes_that_become_other_programs_are_counted_under_both_names(attach, run, rows, monkeypatch, tmp_path):
    """Sixteen rows of 50: two reads each before exec, one fdatasync after it."""
    if shutil.which("sync") is None:
        pytest.skip("sync (coreutils) is not installed")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "sidecar-sync").symlink_to(Path(shutil.which("sync")).resolve())
    loaded = attach("page_cache", "syscalls", by_process=False)

    reported = run("storm.py", "sidecar-storm", 16, 50, 2, tmp_path / "sidecar-sync", "--data")

    before = rows(loaded, "syscall_stats", comm=b"sidecar-storm", syscall=NUMBER["preadv2"])
    after = rows(loaded, "syscall_stats", comm=b"sidecar-sync", syscall=NUMBER["fdatasync"])
    assert {"processes": 800, "failed": 0} == reported
    assert (1600, 800) == (sum(before["duration"]), sum(after["duration"]))
    assert {} == {name: lost for name, lost in loaded.drops.read().items() if lost}
