# SPDX-License-Identifier: Apache-2.0
"""The points in OTLP requests, and those that OpenTelemetry's own encoder makes of a frame."""

from collections import Counter

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ebpf_sidecar.pipeline import ExponentialBuckets, Kind, Temporality

TEMPORALITY = {
    Temporality.UNSPECIFIED: sdk.AggregationTemporality.UNSPECIFIED,
    Temporality.DELTA: sdk.AggregationTemporality.DELTA,
    Temporality.CUMULATIVE: sdk.AggregationTemporality.CUMULATIVE,
}


def points_of(parsed):
    """Every point, with all that is said about it, as text; the order does not matter."""
    found = Counter()
    for resource in parsed.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                properties = getattr(data, "aggregation_temporality", None), getattr(data, "is_monotonic", None)
                said = metric.name, metric.description, metric.unit, kind, properties
                for point in data.data_points:
                    found[str((sorted_attributes(resource.resource), str(scope.scope), said, described(point)))] += 1
    return found


def sorted_attributes(message):
    """Attributes as text, in the order of their names."""
    return sorted((each.key, str(each.value)) for each in message.attributes)


def described(point):
    """A point as text, its attributes apart."""
    bare = type(point)()
    bare.CopyFrom(point)
    for name in {"attributes", "min", "max", "zero_threshold"} & set(bare.DESCRIPTOR.fields_by_name):
        bare.ClearField(name)  # the SDK always sends the first two, we know neither; it has no threshold
    return sorted_attributes(point), bare.SerializeToString(deterministic=True)


def official(each):
    """The request that OpenTelemetry's own encoder makes of a frame."""
    scope = InstrumentationScope(each.scope.name, each.scope.version)
    metrics = [sdk.ScopeMetrics(scope, [sdk_metric(each)], "")]
    return encode_metrics(sdk.MetricsData([sdk.ResourceMetrics(SdkResource(dict(each.resource)), metrics, "")]))


def sdk_metric(each):
    """A frame as one of the SDK's metrics."""
    kind = TEMPORALITY[each.temporality]
    points = [sdk_point(each, row) for row in range(len(each))]
    if each.kind is Kind.HISTOGRAM:
        exponential = isinstance(each.buckets, ExponentialBuckets) and not each.values[:, -1].any()
        data = sdk.ExponentialHistogram(points, kind) if exponential else sdk.Histogram(points, kind)
    elif each.kind is Kind.GAUGE:
        data = sdk.Gauge(points)
    else:
        data = sdk.Sum(points, kind, each.kind is Kind.COUNTER)
    return sdk.Metric(each.name, each.description, each.unit, data)


def sdk_point(each, row):
    """One row of a frame as one of the SDK's points."""
    start, value = int(each.start_times()[row]), each.values[row].tolist()
    common = (each.rows.take(np.array([row])).records()[0], start, each.time_unix_nano)
    if each.kind is not Kind.HISTOGRAM:
        beyond = each.values.dtype.kind == "u" and each.values.max() >= 2**63  # then all of the frame's are floats
        return sdk.NumberDataPoint(*common, float(value) if beyond else value)
    sums = {"count": sum(value), "sum": float(each.sums[row])}
    if not isinstance(each.buckets, ExponentialBuckets) or each.values[:, -1].any():
        return sdk.HistogramDataPoint(
            *common, **sums, bucket_counts=value, explicit_bounds=each.bounds.tolist(), min=0, max=0
        )
    return sdk.ExponentialHistogramDataPoint(
        *common, **sums, scale=each.buckets.scale, zero_count=value[0],
        positive=sdk.Buckets(each.buckets.offset, value[1:-1]), negative=sdk.Buckets(0, []), flags=0, min=0, max=0,
    )  # fmt: skip
