# SPDX-License-Identifier: Apache-2.0
"""Export requests of OTLP, made with the official packages, and what is in them; shared by several test files."""

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics._internal.point import Buckets
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ebpf_sidecar.pipeline import ExponentialBuckets, Kind, Temporality
from ebpf_sidecar.pipeline.testing import NOON

TEMPORALITIES = {
    Temporality.CUMULATIVE: sdk.AggregationTemporality.CUMULATIVE,
    Temporality.DELTA: sdk.AggregationTemporality.DELTA,
}
SCALARS = {bool: "bool_value", str: "string_value", int: "int_value", float: "double_value", bytes: "bytes_value"}


def metrics_data(frames):
    """Frames as the SDK's own objects: those of one resource after the other."""
    resources = {}
    for frame in frames:
        scopes = resources.setdefault(frame.resource, {})
        scopes.setdefault(frame.scope, []).append(_metric(frame))
    return sdk.MetricsData(
        [
            sdk.ResourceMetrics(
                Resource(dict(resource)),
                [
                    sdk.ScopeMetrics(InstrumentationScope(scope.name, scope.version), metrics, "")
                    for scope, metrics in scopes.items()
                ],
                "",
            )
            for resource, scopes in resources.items()
        ]
    )


def request_of(*frames):
    """The request that the SDK's official encoder makes of frames; it does not know the zero threshold."""
    request = encode_metrics(metrics_data(frames))
    thresholds = [frame.bounds[0] for frame in frames if isinstance(frame.buckets, ExponentialBuckets)]
    exponential = [metric.exponential_histogram for metric in metrics_of(request) if _is_exponential(metric)]
    for histogram, threshold in zip(exponential, thresholds, strict=True):
        for point in histogram.data_points:
            point.zero_threshold = threshold
    return request


def _is_exponential(metric):
    return metric.WhichOneof("data") == "exponential_histogram"


def metrics_of(request):
    """All metrics of a request."""
    scopes = (scope for resource in request.resource_metrics for scope in resource.scope_metrics)
    return [metric for scope in scopes for metric in scope.metrics]


def _metric(frame):
    temporality = TEMPORALITIES.get(frame.temporality)
    points = [_point(frame, *row) for row in zip(range(len(frame)), frame.rows.records(), strict=True)]
    if frame.kind is Kind.GAUGE:
        data = sdk.Gauge(points)
    elif frame.kind is not Kind.HISTOGRAM:
        data = sdk.Sum(points, temporality, frame.kind is Kind.COUNTER)
    elif isinstance(frame.buckets, ExponentialBuckets):
        data = sdk.ExponentialHistogram(points, temporality)
    else:
        data = sdk.Histogram(points, temporality)
    return sdk.Metric(frame.name, frame.description, frame.unit, data)


def _point(frame, row, attributes):
    times = int(frame.start_times()[row]), frame.time_unix_nano
    values = frame.values[row].tolist()
    if frame.kind is not Kind.HISTOGRAM:
        return sdk.NumberDataPoint(attributes, *times, values)
    count, total = sum(values), float(frame.sums[row])
    if not isinstance(frame.buckets, ExponentialBuckets):
        return sdk.HistogramDataPoint(attributes, *times, count, total, values, frame.bounds.tolist(), 0.0, 0.0)
    buckets = frame.buckets
    positive = Buckets(buckets.offset, values[1:])  # what is above all bounds is in the next bucket
    return sdk.ExponentialHistogramDataPoint(
        attributes, *times, count, total, buckets.scale, values[0], positive, Buckets(0, []), 0, 0.0, 0.0
    )


def one_metric(kind="gauge", *, name="work.done", resource=None, temporality=2, monotonic=True):
    """A request with one metric without points, and the metric's data."""
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    for key, value in (resource or {}).items():
        set_value(resource_metrics.resource.attributes.add(key=key).value, value)
    metric = resource_metrics.scope_metrics.add().metrics.add(name=name)
    data = getattr(metric, kind)
    data.SetInParent()
    if kind in ("sum", "histogram", "exponential_histogram"):
        data.aggregation_temporality = temporality
    if kind == "sum":
        data.is_monotonic = monotonic
    return request, data


def add_point(data, attributes=None, *, time=NOON, **fields):
    """A point of that metric."""
    point = data.data_points.add(time_unix_nano=time, **fields)
    for key, value in (attributes or {}).items():
        set_value(point.attributes.add(key=key).value, value)
    return point


def set_value(any_value, value):
    """Write a Python value into an AnyValue; None: no value."""
    if isinstance(value, list):
        any_value.array_value.SetInParent()
        for each in value:
            set_value(any_value.array_value.values.add(), each)
    elif isinstance(value, dict):
        any_value.kvlist_value.SetInParent()
        for key, each in value.items():
            set_value(any_value.kvlist_value.values.add(key=key).value, each)
    elif value is not None:
        setattr(any_value, SCALARS[type(value)], value)


def rows_of(frame):
    """Attributes, start time and value of each row, sorted, in a form that compares NaN as equal."""
    sums = frame.sums.tolist() if frame.sums is not None else [None] * len(frame)
    records = [sorted(record.items()) for record in frame.rows.records()]
    return sorted(map(repr, zip(records, frame.start_times().tolist(), frame.values.tolist(), sums, strict=True)))


def identity_of(frame):
    """What all rows of a frame have in common."""
    bounds = None if frame.bounds is None else np.asarray(frame.bounds).tolist()
    common = (frame.name, frame.kind, frame.unit, frame.description, frame.temporality, frame.time_unix_nano)
    return (*common, frame.resource, frame.scope, bounds)
