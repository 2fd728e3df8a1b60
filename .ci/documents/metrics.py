# SPDX-License-Identifier: Apache-2.0
"""Metrics that no probe's YAML describes: the receiver's own, what `rate` adds, and the service's telemetry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.metric_info import MetricInfo
from ebpf_sidecar.pipeline.telemetry.catalogue import SERVICE, catalogue

from .probes import prometheus_name
from .text import block, code, codes, inline, table
from .tree import plugins

_HEADER = ("OpenTelemetry name", "Prometheus name", "kind", "unit", "attributes", "meaning")
_OWN = "ebpf_sidecar."
"""Names of what goes through the service's own telemetry, not through pipelines, begin with it."""


def made_by(*makers: str) -> Iterator[MetricInfo]:
    """What the catalogue has of them, in its order."""
    return (metric for metric in catalogue(plugins()) if metric.made_by in makers)


@block
def receiver_metrics() -> str:
    """What the receiver says about its work in the kernel."""
    return _table(metric for metric in made_by("receiver ebpf") if not metric.name.startswith(_OWN))


@block
def added_by_rate() -> str:
    """The percentages that the processor `rate` makes."""
    return _table(made_by("processor rate"))


@block
def own_telemetry() -> str:
    """The service's own counters and gauges."""
    parts = [each for each in catalogue(plugins()) if each.name.startswith(_OWN) and each.made_by != SERVICE]
    return _table([*made_by(SERVICE), *parts])


def _table(metrics: Iterable[MetricInfo]) -> str:
    """Without the column of attributes where no metric has any."""
    rows = [_row(metric) for metric in metrics]
    kept = [place for place, title in enumerate(_HEADER) if title != "attributes" or any(row[place] for row in rows)]
    return table([_HEADER[place] for place in kept], [[row[place] for place in kept] for row in rows])


def _row(metric: MetricInfo) -> tuple[str, ...]:
    name = prometheus_name(metric.name, metric.unit, Kind(metric.kind))
    reported = inline(metric.description)
    return code(metric.name), code(name), metric.kind.value, code(metric.unit), codes(metric.attributes), reported
