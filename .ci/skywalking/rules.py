# SPDX-License-Identifier: Apache-2.0
"""The rules of OAP's MAL that turn what is sent into metrics of an instance and of a service.

Plain constructs alone, which the parsers of 10.x and of 11 read alike. No division: ratios are made in queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.metric_info import MetricInfo

from .sent import oap_name, own_labels

PERCENTILES = (50, 90, 99)
_PREFIX = "ebpf_"
_PROBE = "probe "


@dataclass(frozen=True)
class Scope:
    """What values belong to. ``entity``: the labels that name it."""

    prefix: str
    entity: tuple[str, ...]
    suffix: str

    @property
    def has_levels(self) -> bool:
        """A service has none: OAP averages the levels of its containers where one would add them up."""
        return self == INSTANCE


INSTANCE = Scope(
    "meter_banyandb_kernel_instance",
    ("cluster", "oap_instance"),
    "instance(['cluster'], ['oap_instance'], Layer.BANYANDB)",
)
SERVICE = Scope("meter_banyandb_kernel", ("cluster",), "service(['cluster'], Layer.BANYANDB)")


SHOWN = {"us": ("ms", 1000), "bytes/1000": ("bytes", 1000)}
"""What people want to see of a unit, and the divisor."""


@dataclass(frozen=True)
class Rule:
    """A metric in OAP. ``unit``: that of the stored whole numbers. ``of``: what it is made of."""

    name: str
    exp: str
    unit: str
    labels: tuple[str, ...]
    of: MetricInfo
    meaning: str = ""

    @property
    def shown(self) -> tuple[str, int]:
        """The unit that people want to see, and by what to divide for it."""
        return SHOWN.get(self.unit, (self.unit, 1))

    @property
    def is_percentile(self) -> bool:
        """Whether it has the label p."""
        return "p" in self.labels


def rules(metrics: Iterable[MetricInfo], scope: Scope) -> list[Rule]:
    """Those for what the probes measure; percentages are left out, and levels where the scope has none."""
    measured = (metric for metric in metrics if metric.made_by.startswith(_PROBE))
    return [rule for metric in measured for rule in _rules(metric, scope)]


def _rules(metric: MetricInfo, scope: Scope) -> Iterator[Rule]:
    if metric.kind is Kind.HISTOGRAM:
        yield from _durations(metric, scope) if metric.unit == "s" else _sizes(metric, scope)
    elif metric.kind is Kind.COUNTER:
        suffix = "_bytes" if metric.unit == "By" else ""
        exp = _added(oap_name(metric), metric, scope)
        yield Rule(f"{_base(metric)}{suffix}", exp, _unit(metric), own_labels(metric), metric)
    elif scope.has_levels:
        exp = f"{oap_name(metric)}.{_sum((*scope.entity, *own_labels(metric)))}"
        yield Rule(_base(metric), exp, _unit(metric), own_labels(metric), metric, "mean of the minute")


def _durations(metric: MetricInfo, scope: Scope) -> Iterator[Rule]:
    """The exporter sends milliseconds, and `histogram` multiplies bounds by 1000."""
    name, base, labels = oap_name(metric), _base(metric).removesuffix("_duration"), own_labels(metric)
    yield _percentiles(f"{base}_latency", "us", metric, scope)
    yield Rule(f"{base}_count", _added(f"{name}_count", metric, scope), "events", labels, metric, "number")
    yield Rule(f"{base}_time_us", _added(f"({name}_sum * 1000)", metric, scope), "us", labels, metric, "sum")


def _sizes(metric: MetricInfo, scope: Scope) -> Iterator[Rule]:
    name, base, labels = oap_name(metric), _base(metric), own_labels(metric)
    yield _percentiles(base, "bytes/1000", metric, scope)
    yield Rule(f"{base}_count", _added(f"{name}_count", metric, scope), "events", labels, metric, "number")
    yield Rule(f"{base}_bytes", _added(f"{name}_sum", metric, scope), "bytes", labels, metric, "sum")


def _percentiles(name: str, unit: str, metric: MetricInfo, scope: Scope) -> Rule:
    labels, wanted = own_labels(metric), ",".join(map(str, PERCENTILES))
    buckets = f"{oap_name(metric)}.{_sum((*scope.entity, *labels, 'le'))}"
    exp = f"{buckets}.histogram().histogram_percentile([{wanted}]).downsampling(SUM)"
    return Rule(name, exp, unit, (*labels, "p"), metric, "percentiles")


def _added(family: str, metric: MetricInfo, scope: Scope) -> str:
    return f"{family}.{_sum((*scope.entity, *own_labels(metric)))}.downsampling(SUM)"


def _sum(labels: Sequence[str]) -> str:
    return f"sum([{','.join(repr(each) for each in labels)}])"


def _base(metric: MetricInfo) -> str:
    return oap_name(metric).removeprefix(_PREFIX)


def _unit(metric: MetricInfo) -> str:
    """In words that a dashboard can show: ``pages`` for ``{page}``."""
    word = metric.unit.strip("{}")
    return "bytes" if word == "By" else f"{word}es" if word.endswith("s") else f"{word}s"
