# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
from pydantic import ValidationError
from replay_setup import ReplaySetup

from ebpf_sidecar.pipeline import ComponentKind, SidecarError, Text
from ebpf_sidecar.pipeline.recording.file import Header, Recording, RecordingWriter
from ebpf_sidecar.pipeline.testing import NOON, Sink, check_contract, fake_context, frame
from ebpf_sidecar.receivers.replay import PACKAGED, ReplayReceiver, ReplaySettings, register_components
from ebpf_sidecar.receivers.replayed import Replayed

[FACTORY] = register_components()
SECOND = 1_000_000_000
INTERVAL = 2


@pytest.fixture
def path(tmp_path):
    """A recording of a counter that is 1, 2 and 3, read every two seconds."""
    header = Header("0.1.0", "6.18.44", "x86_64", "2026-01-01T12:00:00+00:00", float(INTERVAL), {"os.type": "linux"})
    writer = RecordingWriter(tmp_path / "recording", header)
    for tick in range(3):
        time = NOON - 10**6 * SECOND + tick * INTERVAL * SECOND
        writer.write([frame("c", [tick + 1], time_unix_nano=time, resource={"os.type": "linux"})])
    writer.close()
    return tmp_path / "recording"


def test_the_contract_is_kept():
    """The receiver behaves as every component must."""
    check_contract(FACTORY, {"speed": 2, "loop": False, "collection_interval": "1s"})


def test_a_recording_is_played_at_its_pace_and_again(path):
    """Batches come as far apart as recorded, the repetition follows after an interval, and counters go on."""
    assert {0: 1, 2: 2, 4: 3, 6: 4, 8: 5} == ReplaySetup(path).play(2, 2, 2, 2)


def test_a_pause_is_kept_to_its_end(path):
    """Nothing comes before it is due."""
    stage = ReplaySetup(path)
    stage.receiver.start(stage.sink)
    stage.sink.until(1)
    stage.clock.until_waiting()
    stage.clock.advance(1.9)
    stage.clock.until_waiting()
    early = len(stage.sink.batches)
    stage.clock.advance(0.1)
    stage.sink.until(2)
    stage.receiver.shutdown()

    assert 1 == early


@pytest.mark.parametrize(
    ("settings", "pause"),
    [
        ({"speed": 4}, 0.5),
        ({"speed": 0.5}, 4),
        ({"collection_interval": "500ms"}, 0.5),
        ({"collection_interval": "1s", "speed": 2}, 0.5),
    ],
)
def test_the_pace_can_be_chosen(path, settings, pause):
    """Speed and interval set how far batches are apart, and how often a heartbeat is due."""
    stage = ReplaySetup(path, **settings)
    expected = {0: 1, pause: 2, 2 * pause: 3, 3 * pause: 4}

    assert expected == stage.play(pause, pause, pause)


def test_a_standstill_is_not_caught_up(path):
    """After the machine slept, one batch follows and the pace goes on from there."""
    assert {0: 1, 100: 2, 102: 3} == ReplaySetup(path).play(100, 2)


def test_a_batch_that_cannot_be_moved_in_time_is_reported_and_the_next_one_played(path, monkeypatch):
    """Whatever a file holds that the reader let through, the thread continues."""
    moved = Replayed.frames

    def fail_at_two(replayed, recorded, now):
        if recorded[0].values[0] == 2:
            raise OverflowError("too late")
        return moved(replayed, recorded, now)

    monkeypatch.setattr(Replayed, "frames", fail_at_two)
    stage = ReplaySetup(path)
    stage.receiver.start(stage.sink)
    stage.sink.until(1)
    for _ in range(2):
        stage.clock.until_waiting()
        stage.clock.advance(INTERVAL)
    stage.sink.until(2)
    stage.receiver.shutdown()

    assert [1, 3] == [int(f.values[0]) for f in stage.sink.frames if f.name == "c"]
    assert [("receiving", "too late")] == stage.telemetry.errors


def test_without_loop_it_ends(path, caplog):
    """Played once, no heartbeat is expected any more."""
    stage = ReplaySetup(path, loop=False)
    with caplog.at_level(logging.INFO):
        stage.receiver.start(stage.sink)
        for number in (1, 2):
            stage.sink.until(number)
            stage.clock.until_waiting()
            stage.clock.advance(INTERVAL)
        stage.receiver._thread.join(5)

    assert 3 == len(stage.sink.batches) == stage.heartbeat.beats
    assert stage.heartbeat.expected is None
    assert "the recording has ended" in caplog.messages
    stage.receiver.shutdown()


@pytest.mark.parametrize(("at_end", "finished"), [("stop", [0]), ("idle", [])])
def test_the_end_ends_the_service_on_request(path, at_end, finished):
    """Scripts want the exit of the process, dashboards the last numbers."""
    ended = []
    context = fake_context(ComponentKind.RECEIVER, "replay", finished=lambda code=0: ended.append(code))
    context.clock.wait = lambda stopped, seconds: stopped.is_set()
    receiver = ReplayReceiver(ReplaySettings(path=path, loop=False, at_end=at_end), context)
    receiver.start(Sink())
    receiver._thread.join(10)

    assert finished == ended
    receiver.shutdown()


def test_an_end_that_never_comes_cannot_stop_the_service():
    """Both settings are named."""
    with pytest.raises(ValidationError, match=r'at_end: "stop" has no effect .*; set loop: false'):
        ReplaySettings(at_end="stop")


def test_replayed_data_is_clearly_marked(path, caplog):
    """A warning, the resource of every frame and an info metric say whose numbers these are."""
    stage = ReplaySetup(path)
    stage.play()
    [counter, info] = stage.sink.batches[0]

    origin = "replaying a recording made on kernel 6.18.44 at 2026-01-01T12:00:00+00:00"

    [warning] = caplog.records

    assert f"{origin}: these are not this machine's numbers" == warning.getMessage()
    assert logging.WARNING == warning.levelno
    assert {"os.type": "linux", "service.name": "ebpf-sidecar", "ebpf_sidecar.replay": "true"} == counter.resource
    assert ("ebpf.replay.info", [1.0], NOON) == (info.name, info.values.tolist(), info.time_unix_nano)
    assert [{"kernel": "6.18.44", "recorded_at": "2026-01-01T12:00:00+00:00"}] == info.rows.records()
    assert "true" == info.resource["ebpf_sidecar.replay"]


def test_the_info_metric_keeps_its_rows(path):
    """The same row set each time, so that its labels are rendered once."""
    stage = ReplaySetup(path)
    stage.play(2, 2, 2)

    assert 1 == len({id(batch[-1].rows) for batch in stage.sink.batches})


def test_heartbeats_follow_the_pace(path):
    """A beat is expected for each interval, sent for each batch, and no longer expected after the end."""
    stage = ReplaySetup(path, speed=2)
    stage.receiver.start(stage.sink)
    promised = stage.heartbeat.expected
    stage.sink.until(1)
    stage.clock.until_waiting()
    stage.receiver.shutdown()

    assert (INTERVAL / 2, 1, None) == (promised, stage.heartbeat.beats, stage.heartbeat.expected)


def test_a_recording_cut_off_is_played_up_to_there_and_counted(path):
    """The truncated tail is an error of receiving; the rest keeps looping."""
    path.write_bytes(path.read_bytes()[:-12])
    stage = ReplaySetup(path)

    assert {0: 1, 2: 2, 4: 3, 6: 4} == stage.play(2, 2, 2)
    assert ["receiving"] == [stage_ for stage_, _ in stage.telemetry.errors]


def test_a_recording_that_goes_away_ends_unhealthy(path):
    """When the file cannot be read again, the missing heartbeats show it, and the error has the reason."""
    stage = ReplaySetup(path)
    stage.receiver.start(stage.sink)
    for number in (1, 2):
        stage.sink.until(number)
        stage.clock.until_waiting()
        if number == 2:
            path.unlink()
        stage.clock.advance(INTERVAL)
    stage.receiver._thread.join(5)
    expected = stage.heartbeat.expected
    stage.receiver.shutdown()

    assert INTERVAL == expected
    assert "No such file" in stage.telemetry.errors[0][1]


@pytest.mark.parametrize(
    "settings", [{"speed": 0}, {"speed": 1e-9}, {"speed": 1e9}, {"speed": "inf"}, {"collection_interval": "0s"}]
)
def test_an_invalid_pace_is_refused(settings):
    """Speed is between a thousandth and a million, and an interval above zero."""
    with pytest.raises(
        ValueError, match=r"greater than or equal to 0.001|less than or equal to 1000000|at least 1ms|finite"
    ):
        ReplaySettings(**settings)


def test_a_wrong_file_stops_the_start(tmp_path):
    """The service says at start what is wrong with the file."""
    (tmp_path / "x").write_text("hello")

    with pytest.raises(SidecarError, match="is not a recording; make one with"):
        ReplaySetup(tmp_path / "x").receiver.start(Sink())


def test_the_packaged_recording_is_good():
    """What ships with the product can be played to its end, and shows the metrics of all three probes."""
    recording, reasons = Recording(PACKAGED), []
    names = {each.name for batch in recording.batches(reasons.append) for each in batch.frames}

    assert [] == reasons
    assert {"ebpf.cache.read_attempts", "ebpf.block.io.duration", "ebpf.syscall.duration"} <= names


def test_the_packaged_recording_names_no_process_that_is_not_in_it():
    """Words that no row has would be names of other processes of the machine it was made on."""
    for batch in Recording(PACKAGED).batches(pytest.fail):
        columns = [column for each in batch.frames for column in each.rows.columns.values() if isinstance(column, Text)]

        assert all(column is column.trimmed() for column in columns)


def test_the_histograms_of_the_packaged_recording_advise_bounds():
    """So that its page is as short as that of a real machine."""
    found = [
        each for batch in Recording(PACKAGED).batches(pytest.fail) for each in batch.frames if each.bounds is not None
    ]

    assert found
    assert all(set(each.buckets.advised) < set(each.bounds) for each in found)
