# SPDX-License-Identifier: Apache-2.0
"""Every metric of the installed components and of the service itself: the basis of documents, dashboards, rules for
back ends, and tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ebpf_sidecar.pipeline.errors import PluginError
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.metric_info import MetricInfo
from ebpf_sidecar.pipeline.plugins import Plugins

from .ledger import COUNTERS, EXPORTER_GAUGES, READ_COUNTERS, RELOAD_GAUGES, Instrument

SERVICE = "service"


def catalogue(plugins: Plugins) -> Iterator[MetricInfo]:
    """All metrics, the service's own first; components that cannot be loaded are left out."""
    yield from (_own(each, Kind.COUNTER) for each in (*COUNTERS, *READ_COUNTERS))
    yield from (_own(each, Kind.GAUGE) for each in (*EXPORTER_GAUGES, *RELOAD_GAUGES))
    for kind, type_, _ in plugins.all():
        try:
            factory = plugins.factory(kind, type_)
        except PluginError:
            continue  # the command "components" explains it
        for metric in factory.metrics(plugins.probe_folders()):
            yield metric if metric.made_by else replace(metric, made_by=f"{kind.value} {type_}")


def _own(instrument: Instrument, kind: Kind) -> MetricInfo:
    return MetricInfo(
        instrument.name, kind, instrument.unit, instrument.description, instrument.attributes, made_by=SERVICE
    )
