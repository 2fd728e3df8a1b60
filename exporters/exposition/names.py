# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry metric names and units as Prometheus writes them.

The rules are from the OpenTelemetry specification, "Prometheus and OpenMetrics compatibility", and, where it is open,
from the translator that the Collector and Prometheus share (prometheus/otlptranslator).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ebpf_sidecar.pipeline.frame import Kind

_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
    "1": "",
}
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True, slots=True)
class MetricNames:
    """A metric's names on the page."""

    family: str
    """OpenMetrics' name of the family, which never ends in ``_total`` for a counter."""
    text: str
    """The name of family and sample in format 0.0.4."""
    sample: str
    """OpenMetrics' name of the sample."""
    unit: str
    """The unit suffix of ``family``, or empty."""

    def claims(self, kind: Kind) -> frozenset[str]:
        """All names that the family uses on a page of either format."""
        if kind is Kind.HISTOGRAM:
            suffixes: tuple[str, ...] = ("", "_bucket", "_sum", "_count", "_created")
        else:
            suffixes = ("", "_total", "_created") if kind is Kind.COUNTER else ("",)
        return frozenset((self.text, *(self.family + suffix for suffix in suffixes)))


def metric_name(name: str, unit: str, kind: Kind, *, suffixes: bool = True) -> MetricNames:
    """The names of a metric; ``suffixes``: append unit and ``_total``."""
    words = [word for word in _NOT_IN_NAME.split(name) if word]
    unit_words = _unit_words(unit, kind) if suffixes else []
    if suffixes:
        words = _with_unit(words, unit_words)
    if suffixes and kind is Kind.COUNTER:
        words = [word for word in words if word != "total"]
    plain = "_".join(words) or "_"
    if plain[0].isdigit():
        plain = f"_{plain}"
    suffix = "_".join(unit_words)
    if kind is not Kind.COUNTER:
        return MetricNames(plain, plain, plain, _unit_at_end(plain, suffix))
    family = plain.removesuffix("_total") or "_"
    sample = f"{family}_total"
    return MetricNames(family, sample if suffixes else plain, sample, _unit_at_end(family, suffix))


def _unit_words(unit: str, kind: Kind) -> list[str]:
    """``s`` → seconds, ``By/s`` → bytes per second, annotations in braces dropped; "1" is a ratio on gauges only."""
    if unit == "1":
        return ["ratio"] if kind is Kind.GAUGE else []
    above, _, below = unit.partition("/")
    words = _one_unit(above.strip(), _UNITS)
    divisor = _one_unit(below.strip(), _PER)
    return [*words, "per", *divisor] if divisor else words


def _one_unit(unit: str, known: dict[str, str]) -> list[str]:
    if "{" in unit or "}" in unit:
        return []
    return [word for word in _NOT_IN_NAME.split(known.get(unit, unit)) if word]


def _with_unit(words: list[str], unit: list[str]) -> list[str]:
    """Append the unit, unless the name contains it already; a ratio always comes last."""
    if unit == ["ratio"]:
        return [*(word for word in words if word != "ratio"), "ratio"]
    return [*words, *(word for word in unit if word not in words)]


def _unit_at_end(name: str, unit: str) -> str:
    return unit if unit and name.endswith(f"_{unit}") else ""


_SHORT = {
    "k8s.namespace.name": "namespace",
    "k8s.pod.name": "pod",
    "k8s.container.name": "container",
    "k8s.node.name": "node",
}


def label_name(attribute: str, *, short: bool = False) -> str:
    """An attribute's label; ``short``: its name in Kubernetes' own metrics.

    Characters that are invalid in labels become one underscore. ``le`` is reserved for histograms and renamed as
    Prometheus renames reserved labels.
    """
    label = _SHORT.get(attribute, attribute) if short else attribute
    label = _NOT_IN_LABEL.sub("_", label) or "_"
    if label[0].isdigit():
        label = f"key_{label}"
    return "exported_le" if label == "le" else label
