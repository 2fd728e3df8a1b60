# SPDX-License-Identifier: Apache-2.0
"""What a user writes for a component, as a checked and typed object.

A component's settings are a class with annotated fields; the annotations carry meaning and limits, from which the
checks, the JSON Schema and the tables in the READMEs are made.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from .suggestions import did_you_mean

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 9_223_372_036.0  # as Go has it, and as long as Python's locks can wait
_PART = r"(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)"
_BYTES = {"": 1, "B": 1}
_BYTES |= {f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)}
_BYTES |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)}
_SIZE = re.compile(r"(\d+\.?\d*|\.\d+)\s*([A-Za-z]*)")
_DURATION = re.compile(rf"[+-]?(?:{_PART})+|[+-]?0")


class Settings(BaseModel):
    """Settings of a component: unknown keys refused, never changed after they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def parse_duration(text: object) -> float:
    """Seconds in a duration as Go writes them: ``10s``, ``1m30s``, ``500ms``. Raises ValueError with the repair."""
    if text == 0 and isinstance(text, int) and not isinstance(text, bool):
        return 0.0  # YAML reads the unit-less "0", the one that Go allows, as a number
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError(f'"{text}" is not a duration; write a number with its unit, as in "10s", "1m30s" or "500ms"')
    parts = re.findall(r"(\d+\.?\d*|\.\d+)([a-zµμ]+)", text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _LONGEST:
        raise ValueError(f'"{text[:40]}" is longer than 292 years; give a shorter duration')
    return -seconds if text.startswith("-") else seconds


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(f"{seconds:g}s is not above zero; give a duration of at least a millisecond")
    return seconds


def _not_negative(seconds: float) -> float:
    if seconds < 0:
        raise ValueError(f"{seconds:g}s is negative; give zero or a longer duration")
    return seconds


_SCHEMA = WithJsonSchema({"type": "string", "format": "duration", "examples": ["10s", "1m30s", "500ms"]})
Duration = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_not_negative), _SCHEMA]
"""A length of time in seconds, zero allowed; written as Go writes durations."""
Interval = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_positive), _SCHEMA]
"""A length of time in seconds, above zero; written as Go writes durations."""


def parse_bytes(text: object) -> int:
    """Bytes in a size: ``16MiB`` (1024 × 1024), ``64MB`` (1000 × 1000), ``4096``. Raises ValueError with the repair."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    parts = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if not parts:
        raise ValueError(f'"{text}" is not a size; write a number with its unit, as in "16MiB", "64MB" or "4096"')
    if parts[2] not in _BYTES:
        raise ValueError(f'"{text}" has the unknown unit "{parts[2]}"{did_you_mean(parts[2], filter(None, _BYTES))}')
    return int(float(parts[1]) * _BYTES[parts[2]])


_SIZE_SCHEMA = {"type": ["string", "integer"], "format": "size", "minimum": 0, "examples": ["16MiB", "64MB", 4096]}
Bytes = Annotated[int, BeforeValidator(parse_bytes), WithJsonSchema(_SIZE_SCHEMA)]
"""A number of bytes; written with a unit, of 1024 (``MiB``) or of 1000 (``MB``), or without."""


def parse_share(text: object) -> float:
    """A part of one: ``1%`` or ``0.01``, above zero and at most 100 %. Raises ValueError with the repair."""
    percent = isinstance(text, str) and text.endswith("%")
    number = _number(text[:-1] if isinstance(text, str) and percent else text) / (100 if percent else 1)
    if math.isnan(number):
        raise ValueError(f'"{text}" is not a share; write a percentage, as in "1%", or a ratio, as in "0.01"')
    if not 0 < number <= 1:
        raise ValueError(f'"{text}" is not above zero and at most 100%; write a percentage, as in "1%"')
    return number


def _number(text: object) -> float:
    """NaN for what is no number."""
    if isinstance(text, str) and re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*", text):
        return float(text)
    return float(text) if isinstance(text, (int, float)) and not isinstance(text, bool) else math.nan


_SHARE_SCHEMA = {"type": ["string", "number"], "format": "share", "examples": ["1%", 0.01]}
Share = Annotated[float, BeforeValidator(parse_share), WithJsonSchema(_SHARE_SCHEMA)]
"""A part of one, above zero; written as a percentage or as a ratio."""
