# SPDX-License-Identifier: Apache-2.0
"""What the official encoder wrote is what the frames hold: values, attributes, times, buckets."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint, Sum
from otlp_requests import add_point, identity_of, metrics_of, one_metric, request_of, rows_of
from strategies import attribute_names, frames, nasty_text, row_sets

from ebpf_sidecar.pipeline import ExplicitBuckets, Kind, Temporality
from ebpf_sidecar.pipeline.frame import Scope
from ebpf_sidecar.pipeline.resource import Resource
from ebpf_sidecar.pipeline.testing import NOON, FakeClock
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder


def encodable(text):
    """Protocol buffers hold UTF-8."""
    return text.encode("utf-8", "ignore").decode()


TEXTS = nasty_text.map(encodable)
UNLIKE_ROWS = row_sets(values=TEXTS).filter(lambda rows: len(set(map(repr, rows.records()))) == len(rows))
SCOPES = st.builds(Scope, st.sampled_from(["", "a", "b"]), st.sampled_from(["", "1.2"]))
RESOURCES = st.dictionaries(attribute_names, TEXTS.filter(bool), max_size=3).map(Resource)
NUMBERS = tuple(kind for kind in Kind if kind is not Kind.HISTOGRAM)


@st.composite
def sent_frames(draw, kinds=tuple(Kind), **parts):
    """A frame that OTLP can hold."""
    frame = draw(frames(kinds, rows=UNLIKE_ROWS, **parts))
    values = frame.values
    if frame.kind is Kind.COUNTER:
        values = values >> np.uint64(1)
    if frame.kind is Kind.UPDOWNCOUNTER:
        values = np.nan_to_num(values, nan=0.5, posinf=1.0, neginf=-1.0)
    delta = frame.kind is not Kind.GAUGE and draw(st.booleans())
    return replace(
        frame,
        values=values,
        description=encodable(frame.description),
        temporality=Temporality.DELTA if delta else frame.temporality,
        resource=draw(RESOURCES),
        scope=draw(SCOPES),
    )


EXPLICIT = sent_frames().filter(lambda frame: frame.kind is not Kind.HISTOGRAM or explicit(frame))


def explicit(frame):
    """Whether it has explicit buckets."""
    return isinstance(frame.buckets, ExplicitBuckets)


def decode(request, decoder=None):
    """The frames of a request, given as a message or in bytes, and what was left out."""
    body = request if isinstance(request, bytes) else request.SerializeToString()
    return (decoder or RequestDecoder(FakeClock())).decode(body)


@given(st.lists(EXPLICIT, max_size=4))
def test_what_the_official_encoder_wrote_is_received(sent):
    """All kinds but exponential histograms, which have a test of their own; the second time as well."""
    decoder, request = RequestDecoder(FakeClock()), request_of(*sent)
    expected = [frame for frame in sent if len(frame)]
    for _ in range(2):
        decoded = decode(request, decoder)

        assert ({}, 0, 0) == (decoded.rejected, decoded.exemplars, decoded.absent)
        by_origin = sorted(decoded.frames, key=repr_of_origin), sorted(expected, key=repr_of_origin)
        for got, wanted in zip(*by_origin, strict=True):
            assert identity_of(wanted) == identity_of(got)
            assert rows_of(wanted) == rows_of(got)


def repr_of_origin(frame):
    """Frames of one origin stay in order."""
    return repr((dict(frame.resource), frame.scope))


@given(sent_frames(kinds=NUMBERS).filter(len), st.randoms(use_true_random=False))
def test_the_order_of_a_points_fields_does_not_matter(sent, random):
    """Encoders write them in the order of their numbers, but need not; the result is the same."""
    request = request_of(sent)
    shuffled = ExportMetricsServiceRequest.FromString(request.SerializeToString())
    body = shuffled.SerializeToString()
    for metric in metrics_of(request):
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            whole = point.SerializeToString()
            # the same length, so that the lengths of what is around it stay right
            body = body.replace(whole, shuffled_fields(point, random))
    [*ordered], [*mixed] = decode(request).frames, decode(body).frames

    assert [(identity_of(frame), rows_of(frame)) for frame in ordered] == [
        (identity_of(frame), rows_of(frame)) for frame in mixed
    ]


def shuffled_fields(point, random):
    """A point's bytes with its fields in another order; those of its attributes among each other stay."""
    kind = point.WhichOneof("value")
    parts = [
        NumberDataPoint(start_time_unix_nano=point.start_time_unix_nano),
        NumberDataPoint(time_unix_nano=point.time_unix_nano),
        NumberDataPoint(**{kind: getattr(point, kind)}),
        NumberDataPoint(attributes=point.attributes),
    ]
    random.shuffle(parts)
    return b"".join(part.SerializeToString() for part in parts)


def test_a_field_that_comes_twice_has_its_last_value():
    """As protocol buffers define it: what follows the attributes is not overlooked."""
    first = NumberDataPoint(start_time_unix_nano=5, time_unix_nano=NOON, as_int=1)
    first.attributes.add(key="a").value.string_value = "b"
    point = first.SerializeToString() + NumberDataPoint(as_int=7, start_time_unix_nano=6).SerializeToString()
    data = nested(1, point) + Sum(aggregation_temporality=2, is_monotonic=True).SerializeToString()
    [frame] = decode(nested(1, nested(2, nested(2, nested(1, b"work.done") + nested(7, data))))).frames

    assert ([7], [6], [{"a": "b"}]) == (frame.values.tolist(), frame.start_times().tolist(), frame.rows.records())


def nested(number, body):
    """A field that holds bytes or a message of less than 128 bytes."""
    return bytes([number << 3 | 2, len(body)]) + body


def test_whole_numbers_stay_exact():
    """Also those that no float64 holds; a counter of whole numbers has the type that ours have."""
    large = 2**63 - 1
    for kind, monotonic, dtype in (("sum", True, "u"), ("sum", False, "i"), ("gauge", False, "i")):
        request, data = one_metric(kind, monotonic=monotonic)
        add_point(data, {"n": "a"}, as_int=large)
        add_point(data, {"n": "b"}, as_int=1)
        [frame] = decode(request).frames

        assert (dtype, [large, 1]) == (frame.values.dtype.kind, frame.values.tolist())


def test_numbers_of_both_types_become_floats():
    """In one metric."""
    request, data = one_metric("sum")
    add_point(data, {"n": "a"}, as_int=3)
    add_point(data, {"n": "b"}, as_double=0.5)
    [frame] = decode(request).frames

    assert (np.float64, [3.0, 0.5]) == (frame.values.dtype, frame.values.tolist())


def test_points_of_different_times_are_frames_of_their_own():
    """A frame has one time; earlier ones come first, so that exporters keep the latest."""
    request, data = one_metric("sum")
    for time, row, value in ((NOON + 2, "a", 3), (NOON, "a", 1), (NOON + 2, "b", 4), (NOON, "b", 2)):
        add_point(data, {"row": row}, time=time, as_int=value)
    early, late = decode(request).frames

    assert (NOON, [1, 2], NOON + 2, [3, 4]) == (
        early.time_unix_nano, early.values.tolist(), late.time_unix_nano, late.values.tolist(),
    )  # fmt: skip
    assert early.rows is late.rows


def test_histograms_with_different_bounds_are_frames_of_their_own():
    """As are those of different times."""
    request, data = one_metric("histogram")
    for row, bounds in (("a", [1.0]), ("b", [2.0]), ("c", [1.0])):
        add_point(data, {"row": row}, explicit_bounds=bounds, bucket_counts=[1, 2], count=3, sum=4.0)
    frames_ = decode(request).frames

    assert [([1.0], ["a", "c"]), ([2.0], ["b"])] == [
        (frame.bounds.tolist(), [row["row"] for row in frame.rows.records()]) for frame in frames_
    ]


def test_a_histogram_without_buckets_has_one():
    """Only count and sum are known; a sum that is missing is NaN, because it is not zero."""
    request, data = one_metric("histogram")
    add_point(data, count=3)
    [frame] = decode(request).frames

    assert ([], [[3]]) == (frame.bounds.tolist(), frame.values.tolist())
    assert np.isnan(frame.sums).all()


def test_a_point_without_a_time_was_received_now():
    """OTLP allows 0 for unknown."""
    request, data = one_metric()
    add_point(data, time=0, as_double=1.0)
    [frame] = decode(request).frames

    assert NOON == frame.time_unix_nano


@pytest.mark.parametrize("body", [b"garbage", b"\x0a\xff", b"\x0a\x05\x0a\x03\xff\xff\xff"])
def test_what_is_no_request_is_refused(body):
    """Nothing of it is passed on."""
    with pytest.raises(DecodeError):
        decode(body)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_half_a_request_is_refused_or_is_a_smaller_one(cut):
    """A request may end between two metrics: nothing else is accepted."""
    request, data = one_metric("sum", resource={"service.name": "x"})
    add_point(data, {"a": "b"}, as_int=1)
    body = request.SerializeToString()
    with pytest.raises(DecodeError):
        decode(body[:-cut])


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_else(body):
    """Whatever a client sends."""
    with suppress(DecodeError):
        decode(body)


def test_an_empty_request_has_no_frames():
    """Clients may send one to see whether anybody is there."""
    assert () == decode(b"").frames
    assert () == decode(one_metric("sum")[0]).frames
