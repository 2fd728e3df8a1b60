# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import ExplicitBuckets, Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.testing import NOON, frame
from ebpf_sidecar.pipeline.timeline import Instant
from ebpf_sidecar.receivers.replayed import Replayed

SECOND = 1_000_000_000
RECORDED = NOON - 1000 * SECOND


def replayed(speed=1.0, resource=None):
    """A replay whose first batch is shown at noon."""
    return Replayed(RECORDED, NOON, speed, resource or {})


def at(second):
    """A time so long after noon."""
    return Instant(NOON + second * SECOND, second * SECOND)


def rows(*ids):
    """A new row set of those ids."""
    return RowSet(np.array(ids, dtype=np.uint64))


def shown(replay, second, **parts):
    """What becomes of a counter, ``second`` after the first batch of the recording was shown."""
    [made] = replay.frames([frame("c", **parts)], at(second))
    return made


def test_times_move_to_now():
    """A frame is as old as its being shown; its start is as long before the first batch as it was."""
    made = shown(replayed(), 3, values=[1, 2], start_time_unix_nano=RECORDED - 5 * SECOND)

    assert NOON + 3 * SECOND == made.time_unix_nano
    assert [NOON - 5 * SECOND] * 2 == made.start_time_unix_nano.tolist()


def test_a_start_moves_with_the_speed():
    """What started 8 s into the recording starts 4 s into a replay at double speed, but never after now."""
    starts = np.array([RECORDED + 8 * SECOND, RECORDED + 20 * SECOND, 0], np.uint64)
    made = shown(replayed(2.0), 5, values=[1, 2, 3], start_time_unix_nano=starts)

    assert [NOON + 4 * SECOND, NOON + 5 * SECOND, 0] == made.start_time_unix_nano.tolist()


def test_counters_continue_when_the_recording_starts_again():
    """Each repetition adds the total of the recording, for rows that ended before its end, too; start times stay."""
    replay, start = replayed(), {"start_time_unix_nano": RECORDED}
    ticks = [({1: 1, 2: 10}), ({1: 4}), ({1: 9, 3: 5})]
    seen = []
    for loop in range(3):
        for place, tick in enumerate(ticks):
            second = 3 * loop + place
            made = shown(replay, second, values=list(tick.values()), rows=rows(*tick), **start)
            seen.append((dict(zip(tick, made.values.tolist(), strict=True)), made.start_time_unix_nano.tolist()))
        replay.again()
    expected = [
        {1: 1, 2: 10}, {1: 4}, {1: 9, 3: 5},
        {1: 10, 2: 20}, {1: 13}, {1: 18, 3: 10},
        {1: 19, 2: 30}, {1: 22}, {1: 27, 3: 15},
    ]  # fmt: skip

    assert expected == [values for values, _ in seen]
    assert {NOON} == {start for _, starts in seen for start in starts}


def test_histograms_continue_with_their_sums():
    """Buckets and sums are carried on alike."""
    replay = replayed()
    parts = {"values": [[1, 2]], "bounds": [0.5], "sums": [7.0]}
    shown(replay, 0, **parts)
    replay.again()
    made = shown(replay, 1, **parts)

    assert [[2, 4]] == made.values.tolist()
    assert [14.0] == made.sums.tolist()


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": Kind.GAUGE},
        {"kind": Kind.UPDOWNCOUNTER},
        {"temporality": Temporality.DELTA},
    ],
)
def test_what_does_not_only_grow_is_shown_as_it_was(parts):
    """Gauges, sums that go up and down, and deltas are not added up."""
    replay = replayed()
    before = shown(replay, 0, values=[5], **parts)
    replay.again()

    assert [5] == before.values.tolist() == shown(replay, 1, values=[5], **parts).values.tolist()


def test_every_frame_is_marked():
    """The resource says that this is a replay, over what was recorded."""
    made = shown(replayed(resource={"a": "new", "mark": "x"}), 0, values=[1], resource={"a": "old", "b": "kept"})

    assert {"a": "new", "b": "kept", "mark": "x"} == made.resource


def test_metrics_are_carried_on_apart():
    """Two metrics with the same row ids do not mix."""
    replay = replayed()
    for _ in range(2):
        a, b = replay.frames([frame("a", [1], rows(1)), frame("b", [100], rows(1))], at(0))
        replay.again()

    assert ([2], [200]) == (a.values.tolist(), b.values.tolist())


def test_a_metric_that_changes_its_form_starts_anew():
    """Other buckets or another type of number cannot be added to what was there."""
    replay = replayed()
    shown(replay, 0, values=[[1, 1]], buckets=ExplicitBuckets([1.0]), sums=[1.0])
    replay.again()
    made = shown(replay, 1, values=[[1, 1, 1]], buckets=ExplicitBuckets([1.0, 2.0]), sums=[1.0])

    assert [[1, 1, 1]] == made.values.tolist()


TICKS = st.lists(st.dictionaries(st.integers(1, 5), st.integers(0, 2**40)), min_size=1, max_size=5)


@given(gains=TICKS, loops=st.integers(1, 4), speed=st.floats(0.1, 100))
def test_a_replay_never_goes_back(gains, loops, speed):
    """Whatever rows come and go in a recording: no counter falls, no start changes or lies after its time."""
    replay, last, starts, second = replayed(speed), {}, {}, 0
    for _ in range(loops):
        totals = {}
        for place, tick in enumerate(gains):
            totals |= {row: totals.get(row, 0) + gain for row, gain in tick.items()}
            values = [totals[row] for row in tick]
            start = RECORDED + place * SECOND
            made = shown(replay, second, values=values, rows=rows(*tick), start_time_unix_nano=start)
            second += 1
            for row, value, begun in zip(tick, made.values.tolist(), made.start_time_unix_nano.tolist(), strict=True):
                assert value >= last.get(row, 0)
                assert begun == starts.setdefault(row, begun) <= made.time_unix_nano
                last[row] = value
        replay.again()
