# SPDX-License-Identifier: Apache-2.0
"""Points that are laid out alike are read at once, with the same result as if they were read one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from otlp_requests import add_point, one_metric, rows_of

from ebpf_sidecar.pipeline.testing import NOON, FakeClock
from ebpf_sidecar.receivers.otlp_decoding import metric_frames
from ebpf_sidecar.receivers.otlp_decoding.explicit_histograms import explicit_groups
from ebpf_sidecar.receivers.otlp_decoding.histogram_group import Losses
from ebpf_sidecar.receivers.otlp_decoding.number_points import read_at_once, read_one_by_one
from ebpf_sidecar.receivers.otlp_decoding.regular_histograms import regular_groups
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder

TIMES = st.integers(1, 2**64 - 1) | st.sampled_from([NOON, NOON + 1])
ROWS = st.dictionaries(st.sampled_from("ab"), st.text(min_size=1, max_size=200), min_size=1)
EXTREMES = {"min": 0.5, "max": 2.5}
LIKE_EXTREMES = "Y12345678a12345678"
"""Text whose bytes look like the fields min and max."""


@st.composite
def number_points(draw):
    """Serialized points that differ in nothing but their numbers and attributes."""
    starts = draw(st.booleans())
    _, data = one_metric("sum")
    for row in draw(st.lists(ROWS, min_size=1, max_size=5)):
        field, value = draw(
            st.tuples(st.just("as_int"), st.integers(-(2**63), 2**63 - 1))
            | st.tuples(st.just("as_double"), st.floats(allow_nan=False))
        )
        fields = {"start_time_unix_nano": draw(TIMES)} if starts else {}
        add_point(data, row, time=draw(TIMES), **fields, **{field: value})
    return [point.SerializeToString() for point in data.data_points]


@st.composite
def histogram_points(draw):
    """Serialized points with the same bounds."""
    bounds = sorted(draw(st.sets(st.floats(-1e9, 1e9), min_size=1, max_size=40)))
    more = draw(st.sampled_from([{}, {"sum": 1.5}, EXTREMES, {"sum": -2.5, **EXTREMES}, {"flags": 1}]))
    _, data = one_metric("histogram")
    for row in draw(st.lists(ROWS, min_size=1, max_size=5)):
        counts = draw(st.lists(st.integers(0, 2**40), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
        wrong = draw(st.sampled_from([0, 0, 0, 1]))
        fields = {"explicit_bounds": bounds, "bucket_counts": counts, "count": sum(counts) + 1 - wrong}
        fields["bucket_counts"][0] += 1
        add_point(data, row, time=draw(TIMES), start_time_unix_nano=draw(TIMES), **fields, **more)
    return [point.SerializeToString() for point in data.data_points]


@given(number_points())
def test_numbers_read_at_once_are_those_read_one_by_one(points):
    """Times, values of either type, and what remains of each point."""
    at_once, one_by_one = read_at_once(points), read_one_by_one(points)
    as_lists = [
        (each.starts.tolist(), each.times.tolist(), each.values.dtype, each.values.tolist(), list(each.descriptions))
        for each in (at_once, one_by_one)
    ]

    assert as_lists[0] == as_lists[1]


@given(histogram_points())
def test_histograms_read_at_once_are_those_read_one_by_one(points):
    """In the same groups; if one of them cannot be represented, none is read at once."""
    groups, expected = regular_groups(points), list(explicit_groups(points, losses := Losses()))
    if groups is None:
        assert losses.dropped
        return

    assert {*losses.dropped} <= {"no_recorded_value"}
    if losses.dropped:
        return  # their flags are found with their attributes
    for one, other in zip(groups, expected, strict=True):
        assert columns_of(one) == columns_of(other)


def columns_of(group):
    """What can be compared of a group, with NaN as text."""
    return (
        group.time,
        group.starts.tolist(),
        group.counts.tolist(),
        repr(group.sums.tolist()),
        group.buckets.bounds.tolist(),
    )


@given(histogram_points())
def test_a_request_has_the_same_frames_either_way(points):
    """Rows included; flags are found in what remains of a point."""
    found = []
    for patched in (regular_groups, lambda bodies: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(metric_frames, "regular_groups", patched)
            request, data = one_metric("histogram")
            for point in points:
                data.data_points.add().MergeFromString(point)
            decoded = RequestDecoder(FakeClock()).decode(request.SerializeToString())
            dropped = {reason: number for reason, number in decoded.dropped.items() if number}
            found.append((dropped, [rows_of(frame) for frame in decoded.frames]))

    assert found[0] == found[1]


@pytest.mark.parametrize("first", [EXTREMES, {}], ids=["first with", "first without"])
@pytest.mark.parametrize("second", [EXTREMES, {}], ids=["second with", "second without"])
def test_attributes_that_look_like_minimum_and_maximum_stay_whole(first, second):
    """Whichever points have them."""
    request, data = one_metric("histogram")
    for number, extremes in enumerate((first, second)):
        row = {"row": str(number), "z": LIKE_EXTREMES}
        fields = {"explicit_bounds": [1.0], "bucket_counts": [1, 2], "count": 3, "sum": 4.0}
        add_point(data, row, start_time_unix_nano=1, **fields, **extremes)
    [frame] = RequestDecoder(FakeClock()).decode(request.SerializeToString()).frames

    assert [LIKE_EXTREMES] * 2 == [row["z"] for row in frame.rows.records()]
    assert [[1, 2], [1, 2]] == frame.values.tolist()


def test_points_with_other_bounds_are_read_one_by_one():
    """As are those with exemplars, without a start time or without attributes."""
    _, data = one_metric("histogram")
    fields = {"bucket_counts": [1, 2], "count": 3, "sum": 4.0}
    usual = add_point(data, {"a": "b"}, start_time_unix_nano=1, explicit_bounds=[1.0], **fields).SerializeToString()
    others = [
        add_point(data, {"a": "b"}, start_time_unix_nano=1, explicit_bounds=[2.0], **fields),
        add_point(data, {"a": "b"}, explicit_bounds=[1.0], **fields),
        add_point(data, {}, start_time_unix_nano=1, explicit_bounds=[1.0], **fields),
    ]

    assert regular_groups([usual, usual]) is not None
    for other in (point.SerializeToString() for point in others):
        assert regular_groups([usual, other]) is None
    assert np.array_equal(regular_groups([usual])[0].counts, [[1, 2]])
