# SPDX-License-Identifier: Apache-2.0
"""The wall clock is set while a recording is made and while it is replayed."""

import pytest
from replay_setup import SECOND, ReplaySetup

from ebpf_sidecar.pipeline.recording.file import Header, RecordingWriter
from ebpf_sidecar.pipeline.testing import NOON, frame


@pytest.mark.parametrize("jump", [-7200.0, -0.5, 5 * 86400.0])
def test_a_wall_clock_that_is_set_changes_neither_starts_nor_intervals(tmp_path, jump):
    """While it is recorded and while it is replayed: two seconds pass, and a row starts when it started."""
    header = Header("0.1.0", "6.18.44", "x86_64", "2026-01-01T12:00:00+00:00", 4.0)
    writer = RecordingWriter(tmp_path / "recording", header)
    for tick, set_by in enumerate((0.0, 0.0, jump, jump)):
        passed = 2 * tick * SECOND
        parts = {"monotonic_nano": passed, "start_time_unix_nano": NOON - SECOND}
        writer.write([frame("c", [tick], time_unix_nano=NOON + passed + int(set_by * SECOND), **parts)])
    writer.close()
    stage = ReplaySetup(tmp_path / "recording", loop=False)
    stage.receiver.start(stage.sink)
    for batches in (1, 2, 3):
        stage.sink.until(batches)
        stage.clock.until_waiting()
        stage.clock.jump(jump if batches == 2 else 0.0)
        stage.clock.advance(2.0)
    stage.sink.until(4)
    stage.receiver.shutdown()
    shown = [each for each in stage.sink.frames if each.name == "c"]

    assert [0, 2, 4, 6] == [each.monotonic_nano // SECOND for each in shown]
    assert {NOON - SECOND} == {int(start) for each in shown for start in each.start_times()}
    assert all(each.time_unix_nano >= NOON - SECOND for each in shown)
