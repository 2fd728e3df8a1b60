# SPDX-License-Identifier: Apache-2.0
"""Requests hold what the frames hold, as the official encoder writes it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from otlp_points import official, points_of, sorted_attributes
from strategies import frames, nasty_text, row_sets

from ebpf_sidecar.exporters.otlp_encoding.encoder import Encoder
from ebpf_sidecar.exporters.otlp_encoding.request import RequestLimits
from ebpf_sidecar.pipeline import ExponentialBuckets, Frame, Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.testing import NOON, frame

LARGE = RequestLimits(1 << 30)


def requests(batch, limits=LARGE, **settings):
    """The requests of a batch, parsed, and the number of points that the encoder says each has."""
    made = list(Encoder(limits, **settings).requests(batch))
    return [(ExportMetricsServiceRequest.FromString(body), points) for body, points in made]


TIMES = st.integers(0, 2**63 - 1)


@st.composite
def batches(draw):
    """Frames of all kinds, some over the same rows, with everything that is optional."""
    shared = draw(row_sets())
    over = st.just(shared) | row_sets()
    made = draw(st.lists(frames(rows=over, name=st.text("abc.", min_size=1)), max_size=4))
    return [
        replace(
            each,
            time_unix_nano=draw(TIMES),
            start_time_unix_nano=0
            if each.kind is Kind.GAUGE
            else np.array([draw(TIMES) for _ in range(len(each))], np.uint64),
            resource=draw(st.dictionaries(nasty_text.filter(bool), nasty_text, max_size=2)),
            temporality=draw(st.sampled_from(Temporality)),
        )
        for each in made
    ]


@given(batch=batches())
def test_every_point_is_what_the_official_encoder_makes_of_it(batch):
    """Values to the last bit, times, attributes, resource and scope."""
    expected = sum((points_of(official(each)) for each in batch if len(each)), Counter())

    made = requests(batch)

    assert expected == sum((points_of(parsed) for parsed, _ in made), Counter())
    assert sum(expected.values()) == sum(points for _, points in made)


@given(batch=batches(), size=st.integers(1024, 4096), most=st.integers(0, 3))
def test_a_batch_is_split_without_losing_a_point(batch, size, most):
    """No request is larger than allowed, except for a single point that is."""
    limits = RequestLimits(size, most)
    whole = sum((points_of(parsed) for parsed, _ in requests(batch)), Counter())

    parts = requests(batch, limits)

    assert whole == sum((points_of(parsed) for parsed, _ in parts), Counter())
    assert [] == [parsed.ByteSize() for parsed, points in parts if points > 1 and parsed.ByteSize() > size]
    if most:
        assert [] == [n for parsed, _ in parts for n in points_per_metric(parsed).values() if n > most]


def points_per_metric(parsed):
    """The number of points of each metric in each resource and scope of a request."""
    found = Counter()
    for resource in parsed.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                key = str(resource.resource), str(scope.scope), metric.name, metric.description, metric.unit
                found[key] += len(getattr(metric, metric.WhichOneof("data")).data_points)
    return found


def test_attributes_that_describe_a_resource_make_one_each():
    """Rows of a container are together, their container is said once, and no point is lost or changed."""
    rows = RowSet.of([
        {"container.id": "a", "op": "read"}, {"container.id": "b", "op": "read"}, {"container.id": "a", "op": "write"},
        {"container.id": "", "op": "read"},
    ])  # fmt: skip
    counters = frame("work", [1, 2, 3, 4], rows, resource={"host.name": "h"})
    waits = frame("wait", [[1, 0], [2, 0], [3, 0], [4, 0]], rows, bounds=[1.0])

    [(parsed, points)] = requests([counters, waits], resource_attributes=["container.id", "k8s.pod.name"])

    assert 8 == points
    shown = [
        (
            dict(sorted_attributes(resource.resource)).keys(),
            metric.name,
            [
                [each.value.string_value for each in p.attributes]
                for p in getattr(metric, metric.WhichOneof("data")).data_points
            ],
        )
        for resource in parsed.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    containers = {"host.name", "container.id"}
    assert [
        (containers, "work", [["read"], ["write"]]),
        (containers, "work", [["read"]]),
        ({"host.name"}, "work", [["read"]]),
        ({"container.id"}, "wait", [["read"], ["write"]]),
        ({"container.id"}, "wait", [["read"]]),
        (set(), "wait", [["read"]]),
    ] == shown


def test_numbers_are_numbers_and_absent_attributes_are_left_out():
    """As attributes of a row may be."""
    columns = {
        "pid": np.ma.MaskedArray([7, -1], [False, True]), "share": np.array([0.5, 1.5]), "on": np.array([True, False])
    }  # fmt: skip
    [(parsed, _)] = requests([frame("work", [1, 2], RowSet(np.arange(2, dtype=np.uint64), columns))])

    [metric] = parsed.resource_metrics[0].scope_metrics[0].metrics
    said = [{each.key: each.value.WhichOneof("value") for each in p.attributes} for p in metric.sum.data_points]
    assert [
        {"pid": "int_value", "share": "double_value", "on": "bool_value"},
        {"share": "double_value", "on": "bool_value"},
    ] == said


def test_a_counter_beyond_what_otlp_can_hold_is_a_float():
    """Rather than a negative number."""
    [(parsed, _)] = requests([frame("work", [2**64 - 1, 5])])

    [metric] = parsed.resource_metrics[0].scope_metrics[0].metrics
    assert [2.0**64, 5.0] == [point.as_double for point in metric.sum.data_points]


def test_an_exponential_histogram_with_counts_above_its_bounds_is_explicit():
    """OTLP's exponential histograms have no bucket without an upper bound."""
    buckets = ExponentialBuckets(scale=0, offset=0, size=2)
    inside = frame("h", [[1, 2, 3, 0]], buckets=buckets)
    beyond = frame("h", [[1, 2, 3, 4]], buckets=buckets)

    kinds = [requests([each])[0][0].resource_metrics[0].scope_metrics[0].metrics[0] for each in (inside, beyond)]

    assert ["exponential_histogram", "histogram"] == [each.WhichOneof("data") for each in kinds]
    [point] = kinds[0].exponential_histogram.data_points
    assert (1, 1.0, [2, 3], 6) == (
        point.zero_count,
        point.zero_threshold,
        list(point.positive.bucket_counts),
        point.count,
    )


def test_frames_without_rows_make_no_request():
    """There is nothing to say."""
    assert [] == requests([frame("work", [], []), Frame("level", Kind.GAUGE, RowSet.of([]), np.zeros(0), NOON)])


def test_the_bytes_of_a_request_do_not_change_when_the_next_one_is_made():
    """A payload in a queue is not a view of what the encoder reuses."""
    encoder, rows = Encoder(LARGE), RowSet.of([{"op": "read"}])
    [(first, _)] = encoder.requests([frame("work", [1], rows)])
    kept = bytes(first)
    list(encoder.requests([frame("work", [2], rows)]))

    assert kept == first


@pytest.mark.parametrize(
    "values", [np.array([1, 2], np.uint32), np.array([True, False]), np.array([1.5, 2], np.float32)]
)
def test_numbers_of_any_type_are_sent(values):
    """Plugins may count in other types than ours."""
    rows = RowSet.of([{"row": "a"}, {"row": "b"}])
    [(parsed, _)] = requests([Frame("level", Kind.GAUGE, rows, values, NOON)])

    [metric] = parsed.resource_metrics[0].scope_metrics[0].metrics
    sent = [getattr(point, point.WhichOneof("value")) for point in metric.gauge.data_points]
    assert values.tolist() == sent
