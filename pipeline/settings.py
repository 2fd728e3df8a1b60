# SPDX-License-Identifier: Apache-2.0
"""A component's configuration as a validated, typed object.

A component's settings are a class with annotated fields. The annotations carry description and limits, from which
validation, the JSON Schema and the tables in the READMEs are generated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from .suggestions import did_you_mean

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_SECONDS = 9_223_372_036.0  # Go's limit, and the longest that Python's locks can wait
_NUMBER = r"(?:\d++\.?\d*+|\.\d++)"  # possessive: text of any length is matched in one pass
_PART = rf"{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h)"
_BYTES = {"": 1, "B": 1}
_BYTES |= {f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)}
_BYTES |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)}
_SIZE = re.compile(rf"({_NUMBER})\s*+([A-Za-z]*+)")
_MAX_BYTES = 1 << 63
_DURATION = re.compile(rf"[+-]?(?:{_PART})++|[+-]?0")
_MAX_QUOTED = 60  # characters of the user's own value in a message


class Settings(BaseModel):
    """Settings of a component: unknown keys are refused, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PlacedError(ValueError):
    """Several mistakes in one setting, for its validator to raise: each is reported at its own place.

    ``mistakes``: the keys and positions below the setting, and what is wrong there.
    """

    def __init__(self, mistakes: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(message for _, message in mistakes))


def parse_duration(text: object) -> float:
    """Seconds in a duration in Go's syntax: ``10s``, ``1m30s``, ``500ms``. Raises ValueError with advice."""
    if text == 0 and isinstance(text, int) and not isinstance(text, bool):
        return 0.0  # YAML reads the unit-less "0", the one that Go allows, as a number
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError(
            f'"{_short(text)}" is not a duration; write a number with its unit, as in "10s", "1m30s" or "500ms"'
        )
    parts = re.findall(rf"({_NUMBER})([a-zµμ]+)", text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _MAX_SECONDS:
        raise ValueError(f'"{_short(text)}" is longer than 292 years; give a shorter duration')
    return -seconds if text.startswith("-") else seconds


def format_duration(seconds: float) -> str:
    """Seconds as users write them: ``1m30s``, ``500ms``."""
    left, text = round(seconds * 1e9), ""
    for unit, length in (("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        count, left = divmod(left, round(length * 1e9))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _short(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= _MAX_QUOTED else f"{whole[:_MAX_QUOTED]}…"


@dataclass(frozen=True, slots=True)
class Within:
    """Annotation of a duration in seconds: its minimum and maximum, as users write them.

    ``or_zero``: zero is allowed as well. JSON Schema cannot compare durations: it has the limits under ``x-`` names.
    """

    least: str
    most: str
    or_zero: bool = False

    def read(self, text: object) -> float:
        """Seconds in a duration in Go's syntax. Raises ValueError with advice, quoting the original text."""
        seconds = parse_duration(text)
        if seconds == 0 and self.or_zero:
            return seconds
        if seconds < parse_duration(self.least):
            zero = ", or 0s" if self.or_zero else ""
            raise ValueError(f'"{_short(text)}" is below {self.least}; write at least {self.least}{zero}')
        if seconds > parse_duration(self.most):
            raise ValueError(f'"{_short(text)}" is above {self.most}; write at most {self.most}')
        return seconds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        limits = {"x-minimum": self.least, "x-maximum": self.most, **({"x-or-zero": True} if self.or_zero else {})}
        return {"type": "string", "format": "duration", **limits, "examples": ["10s", "1m30s", "500ms"]}


MAX_DURATION = "8760h"
"""A year: a longer setting is a mistake, or means "no limit"."""
Duration = Annotated[float, Within("1ms", MAX_DURATION, or_zero=True)]
"""A duration in seconds, zero allowed; written in Go's syntax. `Within` sets other limits."""
Interval = Annotated[float, Within("1ms", MAX_DURATION)]
"""A duration in seconds, above zero; written in Go's syntax. `Within` sets other limits."""


def parse_bytes(text: object) -> int:
    """Bytes in a size: ``16MiB`` (1024 × 1024), ``64MB`` (1000 × 1000), ``4096``. Raises ValueError with advice."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return _bounded(text, text)
    parts = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if not parts:
        raise ValueError(
            f'"{_short(text)}" is not a size; write a number with its unit, as in "16MiB", "64MB" or "4096"'
        )
    unit = parts[2]
    if unit not in _BYTES:
        hint = did_you_mean(_short(unit), filter(None, _BYTES))
        raise ValueError(f'"{_short(text)}" has the unknown unit "{_short(unit)}"{hint}')
    exact = parts[1].isdecimal() and len(parts[1]) < _MAX_QUOTED
    return _bounded((int if exact else float)(parts[1]) * _BYTES[unit], text)


def format_bytes(number: int) -> str:
    """A size as users write it: ``16MiB``, or all digits if no unit is exact."""
    units = ((f"{letter}iB", 1024**power) for power, letter in reversed(list(enumerate("KMGT", 1))))
    return next((f"{number // size}{unit}" for unit, size in units if number and number % size == 0), str(number))


def _bounded(number: float, text: object) -> int:
    if number >= _MAX_BYTES:
        raise ValueError(f'"{_short(text)}" is more than any machine has; give a smaller size')
    return int(number)


_SIZE_SCHEMA = {"type": ["string", "integer"], "format": "size", "minimum": 0, "examples": ["16MiB", "64MB", 4096]}
Bytes = Annotated[int, BeforeValidator(parse_bytes), WithJsonSchema(_SIZE_SCHEMA)]
"""A number of bytes; written with a unit, of 1024 (``MiB``) or of 1000 (``MB``), or without."""


def parse_share(text: object) -> float:
    """A fraction: ``1%`` or ``0.01``, above zero and at most 100 %. Raises ValueError with advice."""
    percent = isinstance(text, str) and text.endswith("%")
    number = _number(text[:-1] if isinstance(text, str) and percent else text) / (100 if percent else 1)
    if math.isnan(number):
        raise ValueError(f'"{_short(text)}" is not a share; write a percentage, as in "1%", or a ratio, as in "0.01"')
    if not 0 < number <= 1:
        raise ValueError(f'"{_short(text)}" is not above zero and at most 100%; write a percentage, as in "1%"')
    return number


def _number(text: object) -> float:
    """NaN for anything that is not a number."""
    if isinstance(text, str) and re.fullmatch(rf"\s*+[+-]?{_NUMBER}\s*+", text):
        return float(text)
    return float(text) if isinstance(text, (int, float)) and not isinstance(text, bool) else math.nan


_SHARE_SCHEMA = {"type": ["string", "number"], "format": "share", "examples": ["1%", 0.01]}
Share = Annotated[float, BeforeValidator(parse_share), WithJsonSchema(_SHARE_SCHEMA)]
"""A fraction, above zero; written as a percentage or as a ratio."""
