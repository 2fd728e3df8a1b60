# SPDX-License-Identifier: Apache-2.0
"""What the exporter ``skywalking_oap`` sends of each metric: the names and labels that a rule may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ebpf_sidecar.exporters.skywalking.identity import DESCRIBING, RESOURCE
from ebpf_sidecar.exporters.skywalking.settings import OapSettings, point_attributes
from ebpf_sidecar.exporters.skywalking.shaping import label_name
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.metric_info import MetricInfo
from ebpf_sidecar.pipeline.telemetry.catalogue import SERVICE

COUNTING = (Kind.COUNTER, Kind.HISTOGRAM)
_ON_REQUEST = ("process_executable_name", "device")
"""Labels that exist where the setting `detail` asks for them."""
_OWN = "ebpf_sidecar."


@dataclass(frozen=True)
class Sent:
    """A metric as OAP names it. ``own``: its labels besides those of the instance. ``is_buckets``: with the label le.

    ``counts``: its points are deltas, so they are added up over a minute.
    """

    name: str
    own: tuple[str, ...]
    counts: bool
    is_buckets: bool = False

    @property
    def labels(self) -> frozenset[str]:
        """All labels that a rule may name."""
        bucket = ("le",) if self.is_buckets else ()
        return frozenset((*self.own, *bucket, *RESOURCE, *_ON_REQUEST))


def oap_name(metric: MetricInfo) -> str:
    """As OAP writes it: without dots; it knows no units and adds no suffix."""
    return metric.name.replace(".", "_")


def own_labels(metric: MetricInfo) -> tuple[str, ...]:
    """The labels of its points, without what the exporter adds up unless asked, and what the instance stands for."""
    gone = DESCRIBING | point_attributes(OapSettings(cluster="any"))
    return tuple(label_name(each) for each in metric.attributes if each not in gone)


def sent(metrics: Iterable[MetricInfo]) -> Mapping[str, Sent]:
    """All that goes through pipelines, by name."""
    ours = (metric for metric in metrics if metric.made_by != SERVICE and not metric.name.startswith(_OWN))
    return {each.name: each for metric in ours for each in _parts(metric)}


def _parts(metric: MetricInfo) -> Iterable[Sent]:
    name, own = oap_name(metric), own_labels(metric)
    is_buckets = metric.kind is Kind.HISTOGRAM
    yield Sent(name, own, metric.kind in COUNTING, is_buckets)
    if is_buckets:
        yield from (Sent(f"{name}_{part}", own, counts=True) for part in ("count", "sum"))
