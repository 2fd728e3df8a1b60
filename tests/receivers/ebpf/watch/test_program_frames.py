# SPDX-License-Identifier: Apache-2.0
"""What the kernel reports about programs, as frames."""

from types import SimpleNamespace

from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.watch.program_frames import ProgramFrames

RECENT = (6, 18)
NOW = ReadingTime(2_000, {"host.name": "a"})


def program(name, runs, nanoseconds, missed=0):
    """A program with these counts."""
    return SimpleNamespace(name=name, runs=lambda: (runs, nanoseconds), missed=lambda: missed)


def loaded():
    """``enter`` works for two probes, ``insert`` for one; ``idle`` has no hook any more."""
    hooks = (
        HookStatus("cache", "call_enter", "enter", ""),
        HookStatus("calls", "call_enter", "enter", ""),
        HookStatus("block", "insert", "insert", ""),
        HookStatus("block", "merge", "", "not there"),
    )
    programs = (program("idle", 9, 9), program("enter", 1000, 52_000), program("insert", 3, 900, missed=2))
    return SimpleNamespace(hooks=hooks, programs=programs)


def by_name(frames):
    """Metric name → frame."""
    return {frame.name: frame for frame in frames}


def points(frame):
    """Program → value."""
    return {row["program"]: value for row, value in zip(frame.rows.records(), frame.values.tolist(), strict=True)}


def test_runs_and_their_time_come_as_counters_by_program():
    """Time in seconds; counted since the programs were loaded."""
    frames = by_name(ProgramFrames(loaded(), 1_000, RECENT, counting=True).frames(NOW))

    assert {"enter": 1000, "insert": 3} == points(frames["ebpf.probe.runs"])
    assert {"enter": 52e-6, "insert": 900e-9} == points(frames["ebpf.probe.run_time"])
    assert {"enter": 0, "insert": 2} == points(frames["ebpf.probe.missed_runs"])
    assert {(Kind.COUNTER, 1_000, 2_000)} == {
        (f.kind, f.start_time_unix_nano, f.time_unix_nano) for f in frames.values()
    }


def test_a_shared_program_is_one_row_that_names_its_probes():
    """Two rows would count its time twice in a sum."""
    [frame] = ProgramFrames(loaded(), 1_000, RECENT).frames(NOW)

    assert [
        {"probe": "cache,calls", "hook": "call_enter", "program": "enter"},
        {"probe": "block", "hook": "insert", "program": "insert"},
    ] == frame.rows.records()


def test_what_the_kernel_does_not_count_is_absent():
    """Without permission no runs; before 5.12 no missed runs."""
    assert ["ebpf.probe.missed_runs"] == [frame.name for frame in ProgramFrames(loaded(), 1, RECENT).frames(NOW)]
    assert [] == ProgramFrames(loaded(), 1, (5, 10)).frames(NOW)


def test_programs_that_were_turned_off_disappear_and_others_keep_their_rows():
    """A row's number and words stay, so that its counter continues."""
    machine = loaded()
    frames = ProgramFrames(machine, 1, RECENT)
    [before] = frames.frames(NOW)
    frames.follow([hook for hook in machine.hooks if hook.probe == "cache"])
    [after] = frames.frames(NOW)

    assert [before.rows.records()[0]] == after.rows.records()
    assert before.rows.ids[:1].tolist() == after.rows.ids.tolist()


def test_skipped_runs_stay_known_when_their_program_has_gone():
    """The ledger's total never falls; what the kernel does not count is unknown."""
    machine = loaded()
    frames = ProgramFrames(machine, 1, RECENT)
    before = frames.missed()
    frames.frames(NOW)
    frames.follow(machine.hooks[:2])
    frames.frames(NOW)

    assert (0, 2) == (before, frames.missed())
    assert ProgramFrames(machine, 1, (5, 10)).missed() is None
