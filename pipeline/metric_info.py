# SPDX-License-Identifier: Apache-2.0
"""The description of a metric, independent of its values."""

from __future__ import annotations

from dataclasses import dataclass

from .frame import Kind

FIRST_RELEASE = "0.1.0"


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric that a component produces: name, unit (UCUM) and attributes, as in OpenTelemetry.

    ``made_by``: its producer, such as ``probe page_cache``; empty: the component that lists it. ``since``: the first
    release with it. ``meaning``: how to interpret it, if the description is not enough.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    made_by: str = ""
    since: str = FIRST_RELEASE
    meaning: str = ""

    @property
    def instrument(self) -> tuple[str, str, str]:
        """Name, unit and description: the arguments of `Telemetry.observe` and `Telemetry.count`."""
        return self.name, self.unit, self.description


def gauge(name: str, unit: str, description: str, *attributes: str) -> MetricInfo:
    """A gauge."""
    return MetricInfo(name, Kind.GAUGE, unit, description, attributes)


def counter(name: str, unit: str, description: str, *attributes: str) -> MetricInfo:
    """A counter."""
    return MetricInfo(name, Kind.COUNTER, unit, description, attributes)
