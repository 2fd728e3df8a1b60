# SPDX-License-Identifier: Apache-2.0
"""Points that no frame can hold are counted by reason, and the others are passed on."""

import math

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar
from otlp_requests import add_point, one_metric

from ebpf_sidecar.pipeline.testing import NOON, FakeClock
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder


def decode(request):
    """The frames, and what was left out."""
    return RequestDecoder(FakeClock()).decode(request.SerializeToString())


def numbers(kind, *values, monotonic=True, temporality=2):
    """A request with a point for each value."""
    request, data = one_metric(kind, monotonic=monotonic, temporality=temporality)
    for number, value in enumerate(values):
        field = "as_int" if isinstance(value, int) else "as_double"
        add_point(data, {"row": str(number)}, start_time_unix_nano=NOON - 1, **{field: value})
    return request


@pytest.mark.parametrize(
    ("kind", "monotonic", "values", "kept", "dropped"),
    [
        ("sum", True, [1, -1, 3], [1, 3], {"negative_counter": 1}),
        ("sum", True, [1.5, -0.5, math.nan, math.inf], [1.5], {"negative_counter": 1, "not_finite": 2}),
        ("sum", False, [-1.5, math.nan, 2.0], [-1.5, 2.0], {"not_finite": 1}),
        ("gauge", False, [-1.5, math.inf, 2.0], [-1.5, math.inf, 2.0], {}),
        ("sum", True, [-1], None, {"negative_counter": 1}),
    ],
)
def test_values_that_contradict_their_kind_are_refused(kind, monotonic, values, kept, dropped):
    """A gauge may have any value."""
    decoding = decode(numbers(kind, *values, monotonic=monotonic))

    assert dropped == {reason: number for reason, number in decoding.dropped.items() if number} == decoding.rejected
    assert ([kept] if kept else []) == [frame.values.tolist() for frame in decoding.frames]


@pytest.mark.parametrize("kind", ["sum", "histogram", "exponential_histogram"])
def test_without_a_temporality_nothing_is_known_about_a_value(kind):
    """UNSPECIFIED is not allowed by OTLP."""
    request, data = one_metric(kind, temporality=0)
    for row in "ab":
        add_point(data, {"row": row})
    decoding = decode(request)

    assert ((), {"unspecified_temporality": 2}) == (decoding.frames, decoding.dropped)


def test_summaries_are_refused():
    """Quantiles cannot be added up."""
    request, data = one_metric("summary")
    add_point(data, count=1, sum=2.0)

    assert {"summary": 1} == decode(request).rejected


@pytest.mark.parametrize("kind", ["gauge", "sum", "histogram", "exponential_histogram"])
def test_the_end_of_a_series_is_dropped_but_no_mistake(kind):
    """A point that says that it has no value: it is counted, and the client is not told off."""
    request, data = one_metric(kind)
    for row in "ab":
        add_point(data, {"row": row}, flags=1 if row == "a" else 0)
    for point in data.data_points:
        if kind in ("gauge", "sum") and not point.flags:
            point.as_double = 1.0
    decoding = decode(request)

    assert ({}, 1) == (decoding.rejected, decoding.dropped["no_recorded_value"])
    assert [[{"row": "b"}]] == [frame.rows.records() for frame in decoding.frames]


def test_a_flagged_point_is_dropped_though_it_has_a_value():
    """Where all fields are in order, as well."""
    request, data = one_metric("sum")
    add_point(data, {"row": "a"}, as_int=1, flags=1)
    add_point(data, {"row": "b"}, as_int=2)
    decoding = decode(request)

    assert ({"no_recorded_value": 1}, [[2]]) == (decoding.dropped, [frame.values.tolist() for frame in decoding.frames])


def test_a_point_without_a_value_is_refused():
    """Which is not the same as zero."""
    request, data = one_metric()
    add_point(data, {"row": "a"})
    add_point(data, {"row": "b"}, as_double=0.0)
    decoding = decode(request)

    assert ({"no_value": 1}, [[0.0]]) == (decoding.rejected, [frame.values.tolist() for frame in decoding.frames])


@pytest.mark.parametrize("field", ["time_unix_nano", "start_time_unix_nano"])
@pytest.mark.parametrize("attributes", [{}, {"a": "b"}])
def test_times_that_cannot_be_calculated_with_are_refused(field, attributes):
    """After the year 2262."""
    request, data = one_metric("sum")
    setattr(add_point(data, attributes, as_int=1), field, 2**63)

    assert {"time_out_of_range": 1} == decode(request).rejected


@pytest.mark.parametrize("kind", ["gauge", "sum", "histogram", "exponential_histogram"])
def test_exemplars_are_counted_and_their_points_kept(kind):
    """There is no place for them in a frame."""
    request, data = one_metric(kind)
    for row in "ab":
        point = add_point(data, {"row": row}, exemplars=[Exemplar(as_double=1.0, time_unix_nano=NOON)] * 2)
        if kind in ("gauge", "sum"):
            point.as_int = 1
    decoding = decode(request)

    assert (4, {}, 2) == (decoding.exemplars, decoding.rejected, len(decoding.frames[0]))


@pytest.mark.parametrize(
    "fields",
    [
        {"explicit_bounds": [1.0], "bucket_counts": [1], "count": 1},
        {"explicit_bounds": [1.0], "bucket_counts": [1, 2], "count": 4},
        {"explicit_bounds": [2.0, 1.0], "bucket_counts": [1, 2, 3], "count": 6},
        {"explicit_bounds": [1.0, 1.0], "bucket_counts": [1, 2, 3], "count": 6},
        {"explicit_bounds": [math.nan], "bucket_counts": [1, 2], "count": 3},
        {"explicit_bounds": [1.0], "count": 3},
    ],
)
def test_histograms_that_contradict_themselves_are_refused(fields):
    """The other points of the metric are passed on."""
    request, data = one_metric("histogram")
    add_point(data, {"row": "a"}, **fields)
    add_point(data, {"row": "b"}, explicit_bounds=[1.0], bucket_counts=[1, 2], count=3, sum=4.0)
    decoding = decode(request)

    assert ({"malformed_histogram": 1}, [[[1, 2]]]) == (
        decoding.rejected,
        [frame.values.tolist() for frame in decoding.frames],
    )


def test_names_that_are_no_text_make_the_request_malformed():
    """Protocol buffers hold UTF-8; the official parser refuses the request, and so does this one."""
    request, data = one_metric()
    add_point(data, {"name": "text"}, as_double=1.0)
    body = request.SerializeToString().replace(b"text", b"te\xfft")

    with pytest.raises(Exception, match="Error parsing message"):
        RequestDecoder(FakeClock()).decode(body)
