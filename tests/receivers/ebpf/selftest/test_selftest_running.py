# SPDX-License-Identifier: Apache-2.0
"""Real workloads, and probes that the test plays: right ones, wrong ones, and none at all."""

import mmap
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from ebpf_sidecar.pipeline.buckets import ExplicitBuckets
from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.host import Paths
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.pipeline.testing import FakeClock
from ebpf_sidecar.receivers.ebpf.selftest.case import Case, read_cases
from ebpf_sidecar.receivers.ebpf.selftest.judging import Preconditions
from ebpf_sidecar.receivers.ebpf.selftest.meter import OWNER, measured
from ebpf_sidecar.receivers.ebpf.selftest.running import Runner
from ebpf_sidecar.receivers.ebpf.selftest.worker import SCRIPTS, Worker, WorkloadError
from ebpf_sidecar.receivers.ebpf.selftest.workspace import Workspace

MIB = 1 << 20
PATHS = Paths()


class PlayedMeter:
    """Counts ``calls`` of fsync and of fdatasync for the process that was started last from ``folder``, at each second
    look; ``accidents``: how many runs before that count 3 too few."""

    def __init__(self, folder, accidents=0, seconds=0.0, **calls):
        self.folder, self.accidents, self.calls, self.looks = folder, accidents, calls, 0
        self.clock, self.seconds = FakeClock(), seconds

    def read(self):
        self.looks += 1
        self.clock.advance(self.seconds)
        lost = 3 * (self.looks <= 2 * self.accidents)
        links = [path for path in self.folder.iterdir() if path.is_symlink()]
        name = max(links, key=lambda path: path.lstat().st_mtime_ns).name
        rows = RowSet.of([{OWNER: name, "syscall": call} for call in self.calls])
        counts = np.array([[7 + (count - lost) * (self.looks % 2 == 0)] for count in self.calls.values()], np.uint64)
        nothing = np.zeros(len(counts))
        frame = Frame(
            "ebpf.syscall.duration",
            Kind.HISTOGRAM,
            rows,
            counts,
            2,
            buckets=ExplicitBuckets(np.zeros(0)),
            sums=nothing,
            unit="s",
        )
        return {frame.name: frame}


def cases(workload):
    """The cases of one workload that are about the duration of system calls."""
    file = read_cases(["syscalls"])
    chosen = [case for case in file.cases if (case.workload, case.metric) == (workload, "ebpf.syscall.duration")]
    return file.model_copy(update={"cases": tuple(chosen)})


@pytest.fixture
def run(tmp_path):
    """Run the workload "synced" under a played meter; verdicts by system call."""

    def run(bench=None, progress=lambda *_: None, **played):
        workspace = Workspace(tmp_path, "ext4", MIB, "", {})
        runner = Runner(
            cases("synced"), bench or Preconditions({}), PlayedMeter(tmp_path, **played), workspace, PATHS, progress
        )
        return {each.attributes["syscall"]: each for each in runner.run()}

    return run


def test_a_probe_that_counts_right_is_ok(run):
    """What was there before the workload does not matter."""
    results = run(fsync=23, fdatasync=23)

    assert ["ok", "ok"] == [each.verdict for each in results.values()]
    assert 23 == results["fsync"].measured == results["fsync"].expected


@pytest.mark.parametrize("count", [0, 22, 24, 46])
def test_a_probe_that_counts_wrong_is_wrong(run, count):
    """By one call, by half, or not at all; the other system call stays right."""
    results = run(fsync=23, fdatasync=count)

    assert ["ok", "wrong"] == [results[call].verdict for call in ("fsync", "fdatasync")]
    assert f"expected 23, measured {count}" == results["fdatasync"].why


@pytest.mark.parametrize(("accidents", "verdict", "attempts"), [(0, "ok", 1), (2, "ok", 3), (3, "wrong", 3)])
def test_what_is_wrong_once_is_an_accident_and_three_times_a_mistake(run, accidents, verdict, attempts):
    """Others use the machine as well; the number of attempts is reported."""
    results = run(accidents=accidents, fsync=23, fdatasync=23)

    assert {(verdict, attempts)} == {(each.verdict, each.attempts) for each in results.values()}


def test_on_a_slow_machine_nothing_is_tried_again(run):
    """The run has to end; what came out wrong then stays wrong."""
    results = run(accidents=1, seconds=8.0, fsync=23, fdatasync=23)

    assert {("wrong", 1)} == {(each.verdict, each.attempts) for each in results.values()}


def test_only_what_was_wrong_is_tried_again(run):
    """What was right stays right, with its numbers."""
    results = run(fsync=23, fdatasync=22)

    assert (1, 3) == (results["fsync"].attempts, results["fdatasync"].attempts)


def test_a_workload_that_cannot_be_run_here_skips_its_cases(run, monkeypatch):
    """As where the file system knows no direct I/O."""

    def refuse(*_):
        raise WorkloadError("workload calls.py synced failed: OSError: Invalid argument")

    monkeypatch.setattr(Worker, "run", refuse)
    results = run(fsync=23, fdatasync=23)

    assert {("skipped", "workload calls.py synced failed: OSError: Invalid argument")} == {
        (each.verdict, each.why) for each in results.values()
    }


def test_a_metric_that_is_absent_is_skipped_and_its_workload_not_run(run, tmp_path):
    """With the reason that the loader gave."""
    results = run(Preconditions({"ebpf.syscall.duration": "this kernel has no tracepoint"}))

    assert {"skipped"} == {each.verdict for each in results.values()}
    assert "this kernel has no tracepoint" == results["fsync"].why
    assert [] == [path for path in tmp_path.iterdir() if path.is_symlink()]


def test_progress_is_reported_before_each_workload_and_at_the_end(run):
    """How many are done, of how many, and what comes now."""
    reports = []
    run(progress=lambda *reported: reports.append(reported), fsync=23, fdatasync=23)

    assert [(0, 1, "23 times fsync and fdatasync"), (1, 1, "")] == reports


@pytest.mark.parametrize("whose", ["workload", "machine"])
def test_rows_of_others_do_not_count(whose):
    """By the name of the executable, or by the disks that the oracle counts."""
    rows = RowSet.of([{OWNER: owner, "device": disk} for owner in ("me", "you") for disk in ("vda", "loop0")])
    frame = Frame("m", Kind.COUNTER, rows, np.array([1, 2, 4, 8], np.uint64), 1)
    case = Case(metric="m", workload="w", oracle="known", whose=whose)

    assert {"workload": 3, "machine": 5}[whose] == measured(case, {"m": frame}, "me", ["vda"])
    assert 0 == measured(case, {}, "me", ["vda"])


def name_of(pid):
    """As the kernel shows it."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_workload_has_its_own_name_and_reports_its_facts(tmp_path):
    """The name is there before it does anything."""
    (tmp_path / "data").write_bytes(bytes(mmap.PAGESIZE * 4))
    arguments = ["sequential", str(tmp_path / "data"), str(4 * mmap.PAGESIZE), "4096"]

    ended = Worker(tmp_path).run("files.py", arguments, "est-0123456789", name_of)

    assert {"pages": 4} == ended.facts
    assert "est-0123456789" == ended.before == ended.after


def test_a_workload_that_fails_is_explained_by_its_last_line(tmp_path):
    """With the last line that Python wrote."""
    with pytest.raises(ProbeError, match=r"workload files.py sequential failed: FileNotFoundError: .*missing"):
        Worker(tmp_path).run("files.py", ["sequential", str(tmp_path / "missing"), "4096", "4096"], "est-1", name_of)


def test_a_workload_that_hangs_is_ended(tmp_path):
    """A fifo without a writer is never opened; the process is gone afterwards."""
    os.mkfifo(tmp_path / "fifo")
    pids = []
    with pytest.raises(ProbeError, match="timed out"):
        Worker(tmp_path, timeout=2).run("files.py", ["sequential", str(tmp_path / "fifo"), "1", "1"], "e", pids.append)

    assert not Path(f"/proc/{pids[0]}").exists()


def test_scripts_leave_nothing_beside_them(tmp_path):
    """An installed package may be read-only, and a wheel's files are listed."""
    before = set(SCRIPTS.iterdir())
    arguments = ["synced", str(tmp_path / "data"), "4096", "4096"]
    (tmp_path / "data").touch()
    Worker(tmp_path).run("calls.py", arguments, "est-2", name_of)

    assert before == set(SCRIPTS.iterdir())
    assert not (SCRIPTS / "__pycache__").exists()


def test_a_worker_whose_master_is_gone_ends_by_itself(tmp_path):
    """Should the self-test be killed, nothing runs on."""
    ours, theirs = socket.socketpair()
    child = Worker(tmp_path)._start(["files.py", "dropped", "x", "1", "1"], "est-3", theirs)
    theirs.close()
    assert b"ready\n" == ours.recv(100)
    ours.close()

    assert 0 == child.wait(10)
    child.stderr.close()
