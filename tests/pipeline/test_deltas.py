# SPDX-License-Identifier: Apache-2.0
"""Deltas of cumulative metrics: added up, they are what was counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import Frame, Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.deltas import FORGET_AFTER, Deltas, without_empty
from ebpf_sidecar.pipeline.ids import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.streams import MAX_ABSENT_ROUNDS
from ebpf_sidecar.pipeline.testing import NOON, frame

SECOND = 10**9
CREATED = NOON - 10 * SECOND


def counter(second, values, ids=None, start=NOON, **parts):
    """The frame of a counter, read ``second`` seconds after noon."""
    ids = list(range(len(values))) if ids is None else ids
    rows = RowSet(np.array(ids, np.uint64), RowSet.of([{"row": str(number)} for number in ids]).columns)
    when = {"time_unix_nano": NOON + second * SECOND, "start_time_unix_nano": start}
    return frame("work", values, rows, **{**when, **parts})


def deltas(*batches, since=CREATED):
    """The values, start and time of each delta, in seconds after noon."""
    converter = Deltas(since)
    made = [converter.of([batch])[0][0] for batch in batches]
    return [(each.values.tolist(), _seconds(each.start_times()), _seconds(each.time_unix_nano)) for each in made]


def _seconds(times):
    return ((np.asarray(times).astype(np.int64) - NOON) // SECOND).tolist()


def test_a_delta_is_what_was_counted_since_the_previous_one():
    """And starts where that ended."""
    found = deltas(counter(10, [5, 7]), counter(20, [5, 10]), counter(30, [6, 11]))

    assert [([5, 7], [0, 0], 10), ([0, 3], [10, 10], 20), ([1, 1], [20, 20], 30)] == found


def test_a_value_that_falls_is_a_restart():
    """All of it is new."""
    assert ([3], [10], 20) == deltas(counter(10, [5]), counter(20, [3]))[1]


def test_a_later_start_is_a_restart():
    """Even if the value is higher than before."""
    assert ([9], [15], 20) == deltas(counter(10, [5]), counter(20, [9], start=NOON + 15 * SECOND))[1]


@pytest.mark.parametrize("start", [0, CREATED - 1])
def test_the_first_value_of_a_row_that_counts_for_longer_than_we_run_is_left_out(start):
    """A service before us may have sent it; from then on its deltas are sent."""
    converter = Deltas(CREATED)
    first, left_out = converter.of([counter(10, [5, 6], start=start)])
    second, none = converter.of([counter(20, [7, 9], start=start)])

    assert ([], 2) == (first[0].values.tolist(), left_out)
    assert ([2, 3], 0) == (second[0].values.tolist(), none)


def test_a_row_that_was_absent_continues():
    """It is not counted twice."""
    assert ([4], [10], 30) == deltas(counter(10, [5, 1]), counter(20, [2], ids=[1]), counter(30, [9], ids=[0]))[2]


def test_a_row_that_was_forgotten_and_returns_is_not_counted_twice():
    """Its first value is left out, like that of any row of unknown past."""
    hours = FORGET_AFTER // SECOND
    converter = Deltas(CREATED)
    for batch in (counter(10, [5, 1]), counter(11 + hours, [2], ids=[1]), counter(12 + hours, [3], ids=[2])):
        converter.of([batch])
    returned, left_out = converter.of([counter(13 + hours, [6], ids=[0])])

    assert ([], 1) == (returned[0].values.tolist(), left_out)


def test_histograms_have_deltas_of_every_bucket_and_of_the_sum():
    """A sum is rounded in its last digits only."""
    parts = {"bounds": [1.0], "start_time_unix_nano": NOON}
    converter = Deltas(CREATED)
    converter.of([frame("h", [[1, 2]], sums=[2.5], time_unix_nano=NOON + SECOND, **parts)])
    [made], _ = converter.of([frame("h", [[1, 5]], sums=[10.0], time_unix_nano=NOON + 2 * SECOND, **parts)])

    assert ([[0, 3]], [7.5], Temporality.DELTA) == (made.values.tolist(), made.sums.tolist(), made.temporality)


def test_other_buckets_start_anew():
    """Their counts cannot be subtracted."""
    parts = {"sums": [1.0], "start_time_unix_nano": NOON}
    converter = Deltas(CREATED)
    converter.of([frame("h", [[1, 2]], bounds=[1.0], **parts)])
    [made], _ = converter.of([frame("h", [[1, 2, 3]], bounds=[1.0, 2.0], **parts)])

    assert [[1, 2, 3]] == made.values.tolist()


def test_what_does_not_count_stays_as_it_is():
    """Gauges, sums that go up and down, and deltas; counters too where only histograms are asked for."""
    frames = [
        frame("g", [1], kind=Kind.GAUGE), frame("u", [1], kind=Kind.UPDOWNCOUNTER),
        frame("d", [1], temporality=Temporality.DELTA),
    ]  # fmt: skip
    assert (frames, 0) == Deltas(CREATED).of(frames)
    counted = [counter(1, [1])]
    assert (counted, 0) == Deltas(CREATED, kinds=(Kind.HISTOGRAM,)).of(counted)


def test_a_clock_that_was_set_back_makes_no_negative_interval():
    """The interval is empty then."""
    [_, (values, [start], time)] = deltas(counter(100, [5]), counter(40, [6]))

    assert ([1], 40, 40) == (values, start, time)


def test_two_receivers_do_not_mix():
    """Row ids mean something within a stream only."""
    left, right = (ComponentId(ComponentKind.RECEIVER, "ebpf", name) for name in ("a", "b"))
    converter = Deltas(CREATED)
    converter.of([counter(10, [5], source=left), counter(10, [100], source=right)])
    made, _ = converter.of([counter(20, [6], source=left), counter(20, [130], source=right)])

    assert [[1], [30]] == [each.values.tolist() for each in made]


def test_streams_that_ended_are_forgotten():
    """A receiver that renames its metrics must not take more and more memory."""
    converter = Deltas(CREATED)
    converter.of([counter(0, [5])])
    for second in range(MAX_ABSENT_ROUNDS + 1):
        converter.of([frame("other", [1], time_unix_nano=NOON + second * SECOND, start_time_unix_nano=NOON)])

    assert ["other"] == [stream.metric for stream in converter._rows]


def test_histograms_without_observations_are_left_out():
    """Only of deltas: a total of zero says something."""
    delta = frame("h", [[0, 0], [1, 0]], bounds=[1.0], temporality=Temporality.DELTA)

    assert [[1, 0]] == without_empty(delta).values.tolist()
    for same in (frame("h", [[0, 0]], bounds=[1.0]), frame("c", [0], temporality=Temporality.DELTA)):
        assert same is without_empty(same)


@given(
    st.lists(st.dictionaries(st.integers(0, 4), st.integers(0, 2**40), min_size=1), min_size=1, max_size=8),
    st.sets(st.integers(1, 7)),
)
def test_added_up_deltas_are_what_was_counted(increments, restarts):
    """Whatever comes, goes and starts again, no interval is counted twice or left out."""
    totals, starts, sent, counted, ends = {}, {}, {}, {}, {}
    converter, begun = Deltas(CREATED), NOON
    for second, grown in enumerate(increments, 1):
        if second in restarts:
            totals, starts, begun = {}, {}, NOON + second * SECOND - 1
        for row, more in grown.items():
            starts.setdefault(row, begun)
            totals[row] = totals.get(row, 0) + more
            counted[row] = counted.get(row, 0) + more
        ids = sorted(grown)
        start = np.array([starts[row] for row in ids], np.uint64)
        [made], _ = converter.of([counter(second, [totals[row] for row in ids], ids, start=start)])
        for row, value, begin in zip(ids, made.values.tolist(), made.start_times().tolist(), strict=True):
            assert ends.get(row, 0) <= begin <= made.time_unix_nano
            sent[row], ends[row] = sent.get(row, 0) + value, made.time_unix_nano

    assert counted == sent


def test_nothing_is_subtracted_from_the_frame_that_others_hold():
    """All exporters are given the same frame."""
    original = counter(20, [9])
    converter = Deltas(CREATED)
    converter.of([counter(10, [5])])
    converter.of([original])

    assert [9] == original.values.tolist()
    assert isinstance(original, Frame)
