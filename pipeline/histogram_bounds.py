# SPDX-License-Identifier: Apache-2.0
"""The setting ``histogram_bounds`` of an exporter: which histogram buckets it passes on.

``default``: those that the metric advises, about ten, chosen for what it measures. ``full``: all. Or a list of bounds,
as in ``[65.536us, 1.048576ms, 4KiB]``; each histogram uses those that have its unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator, WithJsonSchema

from .bucket_merging import merged, positions_of
from .frame import Frame
from .settings import PlacedError, format_bytes, parse_bytes, parse_duration
from .suggestions import did_you_mean

SECONDS, BYTES = "s", "By"
NANOSECOND = 1e-9
_CHOICES: tuple[Literal["default", "full"], ...] = ("default", "full")
_MAX_EXPONENT = 63
_UNITS = (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))


@dataclass(frozen=True)
class BoundList:
    """Bounds that a user listed. ``by_unit``: ascending float64 by unit of the histograms."""

    by_unit: Mapping[str, NDArray[np.float64]]


Choice = Literal["default", "full"] | BoundList


def chosen(frame: Frame, choice: Choice) -> Frame:
    """The frame with the buckets that an exporter is configured to pass on; other frames are returned unchanged.

    A histogram with none of the listed bounds, for example one with another unit, gets its default ones.
    """
    if choice == "full" or frame.buckets is None:
        return frame
    if isinstance(choice, BoundList):
        listed = choice.by_unit.get(frame.unit)
        if listed is not None and len(positions_of(listed, frame.buckets.bounds)):
            return merged(frame, listed)
    return frame if frame.buckets.advised is None else merged(frame, frame.buckets.advised)


def parse_histogram_bounds(value: object) -> Choice:
    """The user's setting as a choice. Raises ValueError that names each invalid bound with advice."""
    for choice in _CHOICES:
        if value == choice:
            return choice
    if not isinstance(value, (list, tuple)):
        raise ValueError(f'"{value}" is not a choice{_instead(str(value))}')
    if not value:
        raise ValueError('the list has no bounds; write "default", "full", or at least one bound')
    return BoundList({unit: np.array(sorted(bounds), np.float64) for unit, bounds in _by_unit(value).items()})


def _instead(word: str) -> str:
    hint = did_you_mean(word, _CHOICES)
    return hint if hint.endswith("?") else f"{hint} or write a list of bounds"


def _by_unit(entries: Iterable[object]) -> dict[str, set[float]]:
    found: dict[str, set[float]] = {}
    mistakes: list[tuple[tuple[int], str]] = []
    for position, entry in enumerate(entries):
        try:
            unit, bound = _bound(entry)
        except ValueError as mistake:
            mistakes.append(((position,), str(mistake)))
        else:
            found.setdefault(unit, set()).add(bound)
    if mistakes:
        raise PlacedError(mistakes)
    return found


def _bound(entry: object) -> tuple[str, float]:
    """The unit and value of one bound, ``1.048576ms`` or ``4KiB``."""
    try:
        nanoseconds = parse_duration(entry) / NANOSECOND
    except ValueError:
        return BYTES, float(2 ** _exponent(entry, _size(entry), "of bytes", format_bytes))
    exponent = _exponent(entry, nanoseconds, "of nanoseconds", format_nanoseconds)
    return SECONDS, NANOSECOND * 2.0**exponent


def _size(entry: object) -> float:
    try:
        return parse_bytes(entry)
    except ValueError:
        raise ValueError(f'"{entry}" is not a bound; write a duration or size, as in "1.048576ms" or "4KiB"') from None


def _exponent(entry: object, number: float, unit: str, written: Callable[[int], str]) -> int:
    nearest = min(max(round(math.log2(number)), 0), _MAX_EXPONENT) if number > 0 else 0
    if not math.isclose(number, 2**nearest, rel_tol=1e-9):
        problem = f'"{entry}" is not a power of two {unit}, so no bucket ends there'
        raise ValueError(f'{problem}; did you mean "{written(2**nearest)}"?')
    return nearest


def format_nanoseconds(number: int) -> str:
    """Nanoseconds as one number with a unit, without loss: ``1.048576ms``."""
    unit, size = next((unit, size) for unit, size in _UNITS if number >= size)
    whole, rest = divmod(number, size)
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"


_SCHEMA = {
    "anyOf": [
        {"enum": list(_CHOICES), "type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": ["string", "integer"], "format": "bound"}},
    ],
    "examples": [*_CHOICES, ["65.536us", "1.048576ms", "4KiB"]],
}
HistogramBounds = Annotated[Choice, PlainValidator(parse_histogram_bounds), WithJsonSchema(_SCHEMA)]
"""Which histogram buckets an exporter passes on: a settings class declares it, `chosen` applies it."""
