# SPDX-License-Identifier: Apache-2.0
"""The canary's small actions, done for real and without any rights; and machines that do not allow them."""

import errno
import os
import sys
import tempfile
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.disk_folder import find_disk_folder
from ebpf_sidecar.receivers.ebpf.probe.model import Action
from ebpf_sidecar.receivers.ebpf.watch import canary_actions as module
from ebpf_sidecar.receivers.ebpf.watch.canary_actions import Actions

ON_DISK = find_disk_folder(Path("/proc/self/mountinfo").read_text()) is not None


def test_a_process_leaves_no_zombie_and_no_descriptor():
    """The service lives for months."""
    before = list(Path("/proc/self/fd").iterdir())

    assert {} == Actions().do({Action.PROCESS, Action.SIGNAL})
    assert len(before) == len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_without_a_shell_python_does_it(monkeypatch):
    """As in an image that has nothing else."""
    monkeypatch.setattr(module, "_SHELL", Path("/missing/sh"))

    assert {} == Actions().do({Action.SIGNAL})


def test_a_process_that_cannot_be_started_is_a_reason(monkeypatch):
    """Never an exception."""
    monkeypatch.setattr(module, "_SHELL", Path("/missing/sh"))
    monkeypatch.setattr(sys, "executable", "/missing/python")
    problems = Actions().do({Action.PROCESS})

    assert {"process", "signal"} == set(problems)
    assert "No such file" in problems["process"]


@pytest.mark.skipif(not ON_DISK, reason="no folder on a disk here")
def test_a_page_goes_in_and_out_and_leaves_no_file():
    """Whatever the disk below can do: only what is about its requests may be impossible."""
    folder = Path(tempfile.gettempdir())
    before = set(folder.iterdir())
    problems = Actions().do({Action.ADD})

    assert set(problems) <= {Action.REQUEST, Action.QUEUE}
    assert not [path for path in set(folder.iterdir()) - before if path.name.startswith("tmp") and path.is_file()]


def test_without_a_disk_all_that_is_about_files_is_impossible(tmp_path):
    """A read-only container with nothing but tmpfs; processes are none of it."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text("1 1 0:1 / / rw - tmpfs dev rw\n")
    problems = Actions(tmp_path).do({Action.LOOKUP, Action.PROCESS})

    assert {"no folder on a disk is writable"} == set(problems.values())
    assert {"lookup", "add", "remove", "fault", "dirty", "writeback", "request", "queue"} == set(problems)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a disk ``ours``, which holds the folder, and one ``other``; and what to do to write a page."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text("1 1 8:1 / / rw - ext4 dev rw\n")
    number = Path(tempfile.gettempdir()).stat().st_dev
    links = {"ours": f"{os.major(number)}:{os.minor(number)}", "other": "999:1"}
    (tmp_path / "dev" / "block").mkdir(parents=True)
    for name, link in links.items():
        (tmp_path / "block" / name / "device").mkdir(parents=True)
        (tmp_path / "block" / name / "queue").mkdir()
        (tmp_path / "dev" / "block" / link).symlink_to(tmp_path / "block" / name)
    count(tmp_path, ours=5, other=5)
    monkeypatch.setattr(module, "_one_page", lambda _: count(tmp_path, ours=6, other=5))
    return tmp_path


def count(machine, **writes):
    """Let the disks have done so many writes."""
    lines = [f"8 0 {name} 0 0 0 0 {number} 0 0 0 0 0 0" for name, number in writes.items()]
    (machine / "diskstats").write_text("\n".join(lines))


def schedule(machine, **names):
    """Give the disks these I/O schedulers."""
    for disk, name in names.items():
        (machine / "block" / disk / "queue" / "scheduler").write_text(f"[{name}] other\n")


def test_a_scheduler_of_another_disk_queues_nothing_of_ours(machine):
    """As where the folder is on NVMe and a SATA disk is there, too."""
    schedule(machine, ours="none", other="mq-deadline")

    assert {"queue": "ours has no I/O scheduler"} == Actions(machine, machine).do({Action.QUEUE})


def test_the_scheduler_of_our_disk_is_enough(machine):
    """Whatever the other has."""
    schedule(machine, ours="mq-deadline", other="none")

    assert {} == Actions(machine, machine).do({Action.QUEUE, Action.REQUEST})


def test_requests_of_another_disk_are_not_ours(machine, monkeypatch):
    """Page hooks can still be judged; queues need a scheduler besides."""
    monkeypatch.setattr(module, "_one_page", lambda _: count(machine, ours=5, other=9))
    problems = Actions(machine, machine).do({Action.ADD})

    assert {"request", "queue"} == set(problems)
    assert "does not count requests" in problems["request"]


def test_nothing_is_reported_about_requests_of_an_unknown_disk(machine):
    """On overlay, btrfs and LVM."""
    (machine / "block" / "ours" / "device").rmdir()
    problems = Actions(machine, machine).do({Action.ADD})

    assert {"request", "queue"} == set(problems)
    assert "is not directly on a disk" in problems["request"]


@pytest.mark.skipif(not ON_DISK, reason="no folder on a disk here")
def test_a_full_disk_is_a_reason(monkeypatch):
    """Never an exception."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_one_page", refuse)

    assert "No space left" in Actions().do({Action.ADD})["add"]
