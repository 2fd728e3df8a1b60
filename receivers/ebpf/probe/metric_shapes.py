# SPDX-License-Identifier: Apache-2.0
"""How metrics are written in a probe's YAML."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from .model import Attribute, Distinct, Metric, MetricKind, Slots, Spread, Sum
from .shape import Shape, exactly_one
from .words import Decode, Factor, Natural, Text

_HIGHEST_EXPONENT = 63
_VALUES = ("sum", "spread", "histogram", "distinct")


class SpreadShape(Shape):
    """One row for each element of an array."""

    _model = Spread

    field: Text
    """the array"""
    attribute: Text
    """the attribute that tells its elements apart"""
    values: tuple[Text, ...]
    """the attribute's values, in the array's order"""


class SlotsShape(Shape):
    """A histogram."""

    _model = Slots

    slots: Text
    """the array of counts"""
    sum: Text
    """the column that holds the sum of the values"""
    lowest_exponent: int = Field(strict=True, ge=0, le=_HIGHEST_EXPONENT)
    """the upper bound of slot *i* is ``scale`` × 2^(``lowest_exponent`` + *i*); the last slot has none"""
    scale: Factor
    """the unit of the metric in the unit that is counted: ``1.0e-9`` for seconds from nanoseconds"""
    default_exponents: tuple[Natural, ...] = ()
    """those of the bounds that exporters show by default; empty: all"""

    @field_validator("default_exponents")
    @classmethod
    def _of_bounds(cls, value: tuple[int, ...], known: ValidationInfo) -> tuple[int, ...]:
        lowest = known.data.get("lowest_exponent", 0)
        if list(value) != sorted(set(value)) or any(not lowest <= each <= _HIGHEST_EXPONENT for each in value):
            raise ValueError(
                f"the list does not ascend from {lowest} or above to at most {_HIGHEST_EXPONENT}; "
                "list exponents of bounds in order, each once"
            )
        return value


class ValueShape(Shape):
    """Where the numbers of a metric come from: one of these forms."""

    model_config = ConfigDict(json_schema_extra=exactly_one(_VALUES))

    sum: tuple[Text, ...] | None = None
    """the sum of columns of the map's value: ``lookups``, or ``adds[2]``"""
    minus: tuple[Text, ...] = ()
    """with ``sum``: columns to take away"""
    spread: SpreadShape | None = None
    """one row for each element of the array ``field``, told apart by ``attribute`` with ``values``"""
    histogram: SlotsShape | None = None
    """the array ``slots`` and the column ``sum``"""
    distinct: Text | None = None
    """how many keys had the column grow since the last reading"""

    @model_validator(mode="after")
    def _one_form(self) -> ValueShape:
        self.only_one(_VALUES)
        return self

    def build(self, **_: Any) -> Sum | Spread | Slots | Distinct:
        """The form that is written."""
        if self.sum is not None:
            return Sum(self.sum, self.minus)
        inner: Any = self.spread or self.histogram
        return inner.build() if inner else Distinct(self.distinct or "")


class AttributeShape(Shape):
    """An attribute of a metric."""

    _model = Attribute

    name: Text
    """OpenTelemetry's name"""
    field: Text
    """the key's field that holds it"""
    decode: Decode
    """``syscall``, ``errno``, ``device``, or a table from numbers to words with ``else``"""
    only: Text = ""
    """the setting (``$name``) whose words alone take part"""
    btf: tuple[Text, ...] = ()
    """fields without which the kernel does not say it: the attribute is then absent"""


class MetricShape(Shape):
    """A metric."""

    _model = Metric

    name: Text
    """in OpenTelemetry's form: lower case, with dots"""
    kind: MetricKind
    """``counter``, ``updowncounter``, ``gauge`` or ``histogram``"""
    unit: Text
    """UCUM, as ``{page}``, ``s``, ``By``"""
    description: Text
    """one line; becomes the HELP text"""
    reading: Text
    """how to read it"""
    map: Text
    """the map that it comes from"""
    hooks: tuple[Text, ...] = Field(json_schema_extra={"minItems": 1})
    """the hooks without which it would be wrong: it is absent unless all are attached"""
    value: ValueShape
    """where its numbers come from"""
    attributes: tuple[AttributeShape, ...] = ()
    """what tells its rows apart, besides the owner"""

    @field_validator("hooks")
    @classmethod
    def _depends(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("no hook is named; name those that it depends on, or it would be 0 where none is attached")
        return value
