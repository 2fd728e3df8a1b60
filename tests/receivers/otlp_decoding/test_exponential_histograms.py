# SPDX-License-Identifier: Apache-2.0
"""Exponential histograms: points with any scales and offsets share one scale, and no count moves past a bound."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from otlp_requests import add_point, one_metric, request_of
from strategies import frames

from ebpf_sidecar.pipeline import ExponentialBuckets, Kind
from ebpf_sidecar.pipeline.testing import NOON, FakeClock
from ebpf_sidecar.receivers.otlp_decoding.exponential_scale import MOST_BUCKETS, Span
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder

SCALES = st.integers(-9, 25)
COUNTS = st.lists(st.integers(0, 5), max_size=8)


@st.composite
def points(draw):
    """Scale, offset, counts, zero count and zero threshold of a point; its buckets have float64 bounds."""
    scale = draw(SCALES)
    most = min(int(Fraction(1000) * Fraction(2) ** scale), 2**31 - 1)
    offset = draw(st.integers(-most, most))
    return scale, offset, draw(COUNTS), draw(st.integers(0, 3)), draw(st.sampled_from([0.0, 1e-9, 0.5, 3.0]))


def decoded(sent, decoder=None, temporality=2, time=NOON):
    """The frames of a request with these points."""
    request, data = one_metric("exponential_histogram", temporality=temporality)
    for number, (scale, offset, counts, zeros, threshold) in enumerate(sent):
        count = sum(counts) + zeros
        fields = {"scale": scale, "zero_count": zeros, "zero_threshold": threshold, "count": count, "sum": 1.0}
        point = add_point(data, {"row": str(number)}, time=time, **fields)
        point.positive.offset = offset
        point.positive.bucket_counts.extend(counts)
    return (decoder or RequestDecoder(FakeClock())).decode(request.SerializeToString())


def up_to(exponent, point):
    """How many observations of a point are at most 2 ** exponent; None if a bucket with some is on both sides."""
    scale, offset, counts, zeros, _ = point
    total = zeros
    for index, count in enumerate(counts, offset):
        low, high = Fraction(index, 1) / Fraction(2) ** scale, Fraction(index + 1, 1) / Fraction(2) ** scale
        if count and low < exponent < high:
            return None
        total += count if high <= exponent else 0
    return total


@given(st.lists(points(), min_size=1, max_size=4))
def test_what_is_counted_up_to_a_bound_is_what_the_points_counted(sent):
    """In exact arithmetic, at every bound of the frame; so buckets are merged, and never split."""
    decoding = decoded(sent)
    [frame] = decoding.frames
    buckets = frame.buckets
    exponents = [Fraction(buckets.offset + i, 1) / Fraction(2) ** buckets.scale for i in range(buckets.size + 1)]

    assert {} == decoding.dropped
    assert buckets.size <= MOST_BUCKETS
    for point, counts in zip(sent, frame.values.tolist(), strict=True):
        assert sum(point[2]) + point[3] == sum(counts)
        assert point[4] <= frame.bounds[0]
        for exponent, count in zip(exponents, np.cumsum(counts).tolist(), strict=False):
            assert up_to(exponent, point) in (count, None if exponent == exponents[0] else count)


@given(frames(kinds=(Kind.HISTOGRAM,)).filter(lambda frame: isinstance(frame.buckets, ExponentialBuckets)))
def test_what_the_official_encoder_wrote_is_counted_up_to_the_same_bounds(sent):
    """Of a frame whose rows differ."""
    rows = sent.rows.records()
    if not rows or len({repr(row) for row in rows}) < len(rows) or "\\ud" in repr(rows) + ascii(sent.description):
        return
    [frame] = RequestDecoder(FakeClock()).decode(request_of(sent).SerializeToString()).frames
    before = dict(zip(sent.bounds.tolist(), np.cumsum(sent.values, axis=1).T.tolist(), strict=False))
    after = dict(zip(frame.bounds.tolist(), np.cumsum(frame.values, axis=1).T.tolist(), strict=False))

    assert {bound: before[bound] for bound in before.keys() & after.keys()} == {
        bound: after[bound] for bound in before.keys() & after.keys()
    }
    assert sent.values.sum(axis=1).tolist() == frame.values.sum(axis=1).tolist()
    assert sent.sums.tolist() == frame.sums.tolist()


def test_points_of_one_scale_keep_it():
    """Nothing is lost where nothing has to be."""
    [frame] = decoded([(3, 10, [1, 2], 0, 0.0), (3, 8, [4], 5, 0.0)]).frames

    assert (3, 8, 4) == (frame.buckets.scale, frame.buckets.offset, frame.buckets.size)
    assert [[0, 0, 0, 1, 2, 0], [5, 4, 0, 0, 0, 0]] == frame.values.tolist()


def test_a_point_with_a_lower_scale_lowers_that_of_the_others():
    """Index 5 at scale 1 is index 2 at scale 0."""
    [frame] = decoded([(1, 4, [1, 2, 3], 0, 0.0), (0, 1, [7], 0, 0.0)]).frames

    assert (0, 1) == (frame.buckets.scale, frame.buckets.offset)
    assert [[0, 0, 3, 3, 0], [0, 7, 0, 0, 0]] == frame.values.tolist()


def test_points_that_are_far_apart_share_a_scale_at_which_they_fit():
    """However far: a frame has a bounded number of columns."""
    [frame] = decoded([(20, -(10**9), [1], 0, 0.0), (20, 10**9, [2], 0, 0.0)]).frames

    assert frame.buckets.size <= MOST_BUCKETS
    assert [1, 2] == frame.values.sum(axis=1).tolist()
    assert frame.values[0].argmax() < frame.values[1].argmax()


def test_many_points_that_are_far_apart_share_fewer_buckets():
    """So that no client decides how much memory a frame takes."""
    few, many = (Span(20, -(10**9), 10**9).fitted(rows) for rows in (10, 1_000_000))

    assert 100 < few.last - few.first < MOST_BUCKETS
    assert 10 < many.last - many.first < 32


def test_what_lies_outside_of_float64_is_in_the_outermost_columns():
    """The largest float64 is in a bucket whose upper bound is infinite."""
    [frame] = decoded([(0, 1023, [1], 0, 0.0), (0, -1074, [2], 0, 0.0), (0, 0, [3], 0, 0.0)]).frames

    assert np.isfinite(frame.bounds).all()
    assert [1, 2] == [frame.values[0, -1], frame.values[1, 0]]


def test_zeros_and_what_is_below_the_threshold_are_in_the_first_column():
    """Whose bound is therefore never below the threshold."""
    [frame] = decoded([(0, -2, [1, 1, 1, 1], 7, 1.0)]).frames

    assert (1.0, [[9, 1, 1, 0]]) == (frame.bounds[0], frame.values.tolist())


def test_only_zeros_need_no_buckets():
    """There is one bound all the same."""
    [frame] = decoded([(20, 0, [], 4, 0.0), (20, 0, [0, 0], 5, 0.25)]).frames

    assert (0, [[4, 0], [5, 0]]) == (frame.buckets.size, frame.values.tolist())
    assert frame.bounds[0] >= 0.25


def test_cumulative_points_keep_buckets_that_they_had():
    """So that a stream's buckets change only when they must."""
    decoder = RequestDecoder(FakeClock())
    first, second, third = (
        decoded([point], decoder, time=NOON + time).frames[0].buckets
        for time, point in enumerate([(2, 8, [1, 1], 0, 0.0), (3, 20, [1], 0, 0.0), (2, 9, [1], 0, 0.0)])
    )

    assert [(2, 8, 2), (2, 8, 3), (2, 8, 3)] == [
        (each.scale, each.offset, each.size) for each in (first, second, third)
    ]


def test_points_of_delta_are_as_fine_as_each_request_allows():
    """An outlier does not blur what comes after it."""
    decoder = RequestDecoder(FakeClock())
    coarse, fine = (decoded([point], decoder, temporality=1) for point in [(0, 8, [1], 0, 0.0), (5, 20, [1], 0, 0.0)])

    assert [0, 5] == [each.frames[0].buckets.scale for each in (coarse, fine)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda point: point.negative.bucket_counts.append(1), "negative_observations"),
        (lambda point: setattr(point, "count", 99), "malformed_histogram"),
        (lambda point: setattr(point, "scale", -10), "malformed_histogram"),
        (lambda point: setattr(point, "zero_threshold", float("inf")), "malformed_histogram"),
        (lambda point: setattr(point, "zero_threshold", float("nan")), "malformed_histogram"),
        (lambda point: setattr(point, "zero_threshold", -1.0), "malformed_histogram"),
        (lambda point: setattr(point, "time_unix_nano", 2**63), "time_out_of_range"),
    ],
)
def test_points_that_cannot_be_represented_are_counted_with_their_reason(change, reason):
    """The others of the metric are passed on."""
    request, data = one_metric("exponential_histogram")
    for row in "ab":
        point = add_point(data, {"row": row}, scale=0, count=1)
        point.positive.bucket_counts.append(1)
    change(data.data_points[0])
    decoding = RequestDecoder(FakeClock()).decode(request.SerializeToString())

    assert ({reason: 1}, ["b"]) == (decoding.dropped, [row["row"] for row in decoding.frames[0].rows.records()])
