# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: where it is, how large its file is, and that it goes in every case."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.host import Paths
from ebpf_sidecar.receivers.ebpf.selftest.workspace import MIB, memory, temporary_workspace

PATHS = Paths()


@pytest.mark.parametrize("end", [KeyboardInterrupt, ProbeError("no"), SystemExit(143), None])
def test_the_folder_goes_whatever_happens(tmp_path, end):
    """SIGINT and SIGTERM come as exceptions."""

    def work():
        with temporary_workspace(tmp_path, PATHS, quick=True) as workspace:
            workspace.fill(workspace.data)
            assert workspace.size == workspace.data.stat().st_size
            if end:
                raise end

    if end:
        with pytest.raises(end if isinstance(end, type) else type(end)):
            work()
    else:
        work()

    assert [] == list(tmp_path.iterdir())


KILLED = """
import os, pathlib, signal, sys
from ebpf_sidecar.receivers.ebpf.selftest.guard import guarded
with guarded(pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_folder_goes_even_when_its_owner_is_killed(tmp_path):
    """Another process waits for that, and lives no longer than needed."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data").touch()
    done = subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # it has no parent left

    assert -signal.SIGKILL == done.returncode
    assert not folder.exists()


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    """With what to do."""
    missing = temporary_workspace(tmp_path / "not there", PATHS, quick=True)
    with pytest.raises(ProbeError, match=r"not there.*no such file or directory; name another with --folder"), missing:
        pass


def machine(root, filesystem, *, limit="max", available=1 << 20):
    """The kernel's files of a machine with one file system."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "mountinfo").write_text(f"1 1 0:1 / / rw - {filesystem} dev rw\n")
    (root / "proc" / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {available} kB\n")
    (root / "cgroup").mkdir()
    (root / "cgroup" / "memory.max").write_text(f"{limit}\n")
    return Paths(root / "proc", root / "sys", root / "cgroup")


def test_a_folder_that_is_on_no_disk_is_reported(tmp_path):
    """Workloads that need none continue in it; on overlay and its kin kernel threads may send the requests."""
    (tmp_path / "work").mkdir()
    with temporary_workspace(tmp_path / "work", machine(tmp_path, "tmpfs"), quick=False) as workspace:
        assert f"{tmp_path / 'work'} is not on a disk; name one that is with --folder" == workspace.problem
        assert {"own_requests", "scheduler"} == set(workspace.lacks)


@pytest.mark.parametrize(("limit", "size"), [("max", None), (str(20 * MIB), 4 * MIB), (str(1 * MIB), 4 * MIB)])
def test_the_file_fits_into_the_containers_memory(tmp_path, limit, size):
    """Otherwise the kernel drops pages in the middle of a workload."""
    (tmp_path / "work").mkdir()
    paths = machine(tmp_path, "ext4", limit=limit)
    with temporary_workspace(tmp_path / "work", paths, quick=False) as workspace:
        assert size in (None, workspace.size)
        assert 4 * MIB <= workspace.size <= 64 * MIB
        assert 0 == workspace.size & (workspace.size - 1)

    assert (1 << 30 if limit == "max" else int(limit)) == memory(paths)


def test_a_disk_with_a_scheduler_lacks_nothing(tmp_path):
    """A partition is judged by its disk."""
    paths = machine(tmp_path, "ext4")
    number = tmp_path.stat().st_dev
    disk = tmp_path / "sys" / "block" / "vda"
    (disk / "device").mkdir(parents=True)
    (disk / "queue").mkdir()
    (disk / "queue" / "scheduler").write_text("none [mq-deadline]\n")
    (disk / "vda1").mkdir()
    (disk / "vda1" / "partition").touch()
    (tmp_path / "sys" / "dev" / "block").mkdir(parents=True)
    (tmp_path / "sys" / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").symlink_to(disk / "vda1")

    with temporary_workspace(tmp_path, paths, quick=True) as workspace:
        assert {} == workspace.lacks
    (disk / "queue" / "scheduler").write_text("[none] mq-deadline\n")
    with temporary_workspace(tmp_path, paths, quick=True) as workspace:
        assert {"scheduler": "vda has no I/O scheduler, so requests do not queue"} == workspace.lacks
