# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest

from ebpf_sidecar.pipeline import RowSet
from ebpf_sidecar.pipeline.testing import FakeClock
from ebpf_sidecar.processors import executable_name
from ebpf_sidecar.processors.executable_name import ExecutableNames

POD = "/kubepods/burstable/pod12345678-90ab-cdef-1234-567890abcdef/" + "0a1b2c3d" * 8
SERVICE = "/system.slice/web.service"
LONG = "measure-everything"
CUT = LONG[:15]


@pytest.fixture
def proc(tmp_path):
    """An empty /proc of our own."""
    (tmp_path / "self").mkdir()
    (tmp_path / "uptime").write_text("1.0 1.0\n")
    return tmp_path


def add_process(proc, pid, comm=CUT, *, cgroup=f"0::{SERVICE}", exe=f"/usr/bin/{LONG}", cmdline=""):
    """Write a process into the fake /proc."""
    process = proc / str(pid)
    process.mkdir()
    (process / "comm").write_bytes((comm if isinstance(comm, bytes) else comm.encode()) + b"\n")
    (process / "cgroup").write_text(f"{cgroup}\n")
    (process / "cmdline").write_text(cmdline)
    if exe:
        (process / "exe").symlink_to(exe)
    return process


def completed(names, *pairs):
    """The executables of rows (name, cgroup), completed."""
    rows = RowSet.of([{"process.executable.name": name, "process.linux.cgroup": cgroup} for name, cgroup in pairs])
    return names.complete(rows).columns["process.executable.name"].strings()


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"exe": f"/usr/bin/{LONG} (deleted)"},
        {"exe": None, "cmdline": f"/opt/{LONG}\0--flag\0"},
        {"exe": "/usr/bin/python3.11", "cmdline": f"python3\0/opt/{LONG}\0"},
        {"cgroup": f"4:memory:{SERVICE}\n1:name=systemd:/elsewhere\n0::/"},
        {"cgroup": f"4:memory:/elsewhere\n0::{SERVICE}"},
    ],
)
def test_a_cut_name_is_completed_from_a_live_process(proc, parts):
    """The executable's file, or the command line of programs and scripts, gives the whole name."""
    add_process(proc, 23, **parts)

    assert [LONG] == completed(ExecutableNames(proc, FakeClock()), (CUT, SERVICE))


@pytest.mark.parametrize(
    "parts",
    [
        {"comm": "measure-another"},
        {"cgroup": "0::/system.slice/other.service"},
        {"exe": "/usr/bin/java", "cmdline": "java\0-jar\0"},
        {"exe": None, "cmdline": f"{LONG} of job 4711\0"},
        {"exe": None},
    ],
)
def test_a_name_is_never_replaced_by_another(proc, parts):
    """Another command, another place, a name the program chose, a title and a kernel thread leave it as it is."""
    add_process(proc, 23, **parts)

    assert [CUT] == completed(ExecutableNames(proc, FakeClock()), (CUT, SERVICE))


def test_two_programs_with_the_same_beginning_are_not_mixed_up(proc):
    """Where one row stands for two executables, it keeps the name they share."""
    add_process(proc, 23)
    add_process(proc, 24, exe="/usr/bin/measure-everything-else")

    assert [CUT] == completed(ExecutableNames(proc, FakeClock()), (CUT, SERVICE))


def test_the_same_command_may_be_another_program_elsewhere(proc):
    """Names are found for each cgroup; a container is recognised from inside a cgroup namespace, too."""
    add_process(proc, 23)
    add_process(proc, 24, cgroup=f"0::/../../{POD.rpartition('/')[2]}", exe="/measure-everything-else")
    pairs = [(CUT, SERVICE), (CUT, POD), ("sh", POD), (CUT, "/gone.service"), ("", "")]

    expected = [LONG, "measure-everything-else", "sh", CUT, ""]

    assert expected == completed(ExecutableNames(proc, FakeClock()), *pairs)


def test_a_process_that_ended_keeps_its_name(proc):
    """What was found once is remembered."""
    names = ExecutableNames(proc, FakeClock())
    add_process(proc, 23)
    before = completed(names, (CUT, SERVICE))
    shutil.rmtree(proc / "23")

    assert [LONG] == before == completed(names, (CUT, SERVICE), ("other", SERVICE))[:1]


def test_what_was_not_found_is_looked_for_again_after_a_minute(proc):
    """Misses cost one pass over /proc a minute, not one for each change of the rows."""
    clock = FakeClock()
    names = ExecutableNames(proc, clock)
    completed(names, (CUT, SERVICE))
    add_process(proc, 23)
    clock.advance(59)
    soon = completed(names, (CUT, SERVICE))
    clock.advance(1)

    assert [CUT] == soon
    assert [LONG] == completed(names, (CUT, SERVICE))


def test_the_longest_unused_names_are_forgotten(proc, monkeypatch):
    """The memory is bounded, and what is in use stays in it."""
    monkeypatch.setattr(executable_name, "REMEMBERED", 2)
    names = ExecutableNames(proc, FakeClock())
    for pid, cgroup in enumerate(["/a", "/b", "/c"]):
        add_process(proc, pid, cgroup=f"0::{cgroup}")
    for pair in [(CUT, "/a"), (CUT, "/b"), (CUT, "/a"), (CUT, "/c")]:
        completed(names, pair)
    for pid in range(3):
        shutil.rmtree(proc / str(pid))

    assert [LONG, CUT, LONG] == [completed(names, (CUT, cgroup))[0] for cgroup in ("/a", "/b", "/c")]


@pytest.mark.parametrize(
    ("full", "cut"),
    [
        ("größenverhältnisse", "größenverhäl"),  # 15 bytes, ends with a whole character
        ("mess-und-größe-daemon", "mess-und-größ"),
        ("name-fourteen-é-x", "name-fourteen-\ufffd"),  # the cut goes through the é
    ],
)
def test_names_are_cut_at_bytes_not_at_characters(proc, full, cut):
    """Letters outside ASCII count as the kernel counts them, and half a letter does not hide the name."""
    add_process(proc, 23, full.encode()[:15], exe=f"/bin/{full}")

    assert [full] == completed(ExecutableNames(proc, FakeClock()), (cut, SERVICE))


def test_rows_without_names_or_cgroups_are_left_alone(proc):
    """Without an executable nothing happens; without a cgroup any place will do; short names cost nothing."""
    names = ExecutableNames(proc / "missing", FakeClock())
    no_names = RowSet.of([{"device": "sda"}])
    short = RowSet.of([{"process.executable.name": "sh"}])
    numbers = RowSet.of([{"process.executable.name": 7}])
    untouched = [no_names, short, numbers]

    assert untouched == [names.complete(rows) for rows in untouched]


def test_a_name_of_exactly_fifteen_bytes_is_known_to_be_whole(proc):
    """A name that was not cut is confirmed once and stays."""
    add_process(proc, 23, exe=f"/usr/bin/{CUT}")
    names = ExecutableNames(proc, FakeClock())
    before = completed(names, (CUT, SERVICE))
    add_process(proc, 24)

    assert [CUT] == before == completed(names, (CUT, SERVICE))


def test_rows_without_a_cgroup_are_completed_by_name_alone(proc):
    """Where the rows do not say the place, a name that only one program has is enough."""
    add_process(proc, 23)
    rows = RowSet.of([{"process.executable.name": CUT}])
    complete = ExecutableNames(proc, FakeClock()).complete(rows)

    assert [{"process.executable.name": LONG}] == complete.records()


def test_without_proc_names_stay_as_they_are(tmp_path):
    """A missing /proc is no reason to fail."""
    assert [CUT] == completed(ExecutableNames(tmp_path / "missing", FakeClock()), (CUT, SERVICE))


def test_a_process_that_ends_while_it_is_looked_at_does_no_harm(proc):
    """Files that are gone, and processes without a readable place, are passed over."""
    (proc / "22").mkdir()
    (add_process(proc, 23) / "cgroup").unlink()
    add_process(proc, 24)

    assert [LONG] == completed(ExecutableNames(proc, FakeClock()), (CUT, SERVICE))
