# SPDX-License-Identifier: Apache-2.0
"""What a user writes for a component, as a checked and typed object.

A component's settings are a class with annotated fields; the annotations carry meaning and limits, from which the
checks, the JSON Schema and the tables in the READMEs are made.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 9_223_372_036.0  # as Go has it, and as long as Python's locks can wait
_PART = r"(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)"
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
