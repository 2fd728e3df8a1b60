# SPDX-License-Identifier: Apache-2.0
"""What there is to know about a metric before it has any values."""

from __future__ import annotations

from dataclasses import dataclass

from .frame import Kind

FIRST_RELEASE = "0.1.0"


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric that a component makes: name, unit (UCUM) and attributes in OpenTelemetry's words.

    ``made_by``: what makes it, such as ``probe page_cache``; empty: the component that names it. ``since``: the release
    that brought it. ``meaning``: how to read it, where the description does not say enough.
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
        """Name, unit and description, as `Telemetry.observe` and `Telemetry.count` take them."""
        return self.name, self.unit, self.description


def gauge(name: str, unit: str, description: str, *attributes: str) -> MetricInfo:
    """One that goes up and down."""
    return MetricInfo(name, Kind.GAUGE, unit, description, attributes)


def counter(name: str, unit: str, description: str, *attributes: str) -> MetricInfo:
    """One that only grows."""
    return MetricInfo(name, Kind.COUNTER, unit, description, attributes)
