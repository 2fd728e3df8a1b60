# SPDX-License-Identifier: Apache-2.0
"""Metrics made by the official SDK, as the official exporters send them."""

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

NASTY = 'a "b"\\\n·'


def sdk_metrics():
    """One metric of each kind, with two points each where there are attributes."""
    exponential = View(instrument_name="ebpf.block.io.size", aggregation=ExponentialBucketHistogramAggregation())
    reader = InMemoryMetricReader()
    resource = Resource({"service.name": "peers", "host.id": 7})
    provider = MeterProvider([reader], resource, views=[exponential], shutdown_on_exit=False)
    meter = provider.get_meter("tests", "1")
    misses = meter.create_counter("ebpf.cache.misses", "{page}", "Pages brought in")
    pages = meter.create_up_down_counter("ebpf.cache.pages", "{page}")
    rate = meter.create_gauge("ebpf.cache.hit_rate", "%")
    duration = meter.create_histogram("ebpf.block.io.duration", "s", explicit_bucket_boundaries_advisory=[0.001, 1])
    size = meter.create_histogram("ebpf.block.io.size", "By")
    for number, pod in enumerate(("web", NASTY), 1):
        attributes = {"k8s.pod.name": pod, "number": number, "ratio": 0.5, "ok": True}
        misses.add(300 * number, attributes)
        pages.add(-3 * number, attributes)
        rate.set(92.5 / number, attributes)
        duration.record(0.0005 * number, attributes)
        size.record(4096 * number, attributes)
    metrics = reader.get_metrics_data()
    provider.shutdown()
    return metrics


def as_sent(metrics):
    """What exporters make of them: the messages for each resource."""
    return list(encode_metrics(metrics).resource_metrics)
