# SPDX-License-Identifier: Apache-2.0
"""The latest value of every series, by metric family.

A series is what Prometheus takes it for: a name and its label text. Series that the newest frame does not hold keep
their last value until they expire; series that return go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...pipeline.frame import Frame, Kind, Temporality
from .labels import LabelTable
from .names import Name
from .series import Points


@dataclass(slots=True)
class Family:
    """A metric and its series: those of the newest frame, and those that earlier frames held."""

    name: Name
    kind: Kind
    unit: str
    description: str
    bounds: NDArray[np.float64] | None
    live: Points
    table: LabelTable
    kept: Points | None = None

    def parts(self) -> tuple[Points, ...]:
        """The series in the order of the page."""
        return tuple(part for part in (self.live, self.kept) if part is not None and len(part))

    def update(self, frame: Frame, table: LabelTable, now: float) -> int:
        """Take a newer frame in. Returns how many series were overwritten though they were read at the same time:
        these came twice."""
        new = Points.of(frame, table, now)
        twice = 0
        if frame.temporality is Temporality.DELTA:
            new = self._accumulated(new)
        elif len(self.live) and self.live.times[0] == frame.time_unix_nano:
            twice = len(set(new.blocks).intersection(self.live.blocks))
        if new.blocks is not self.live.blocks:
            self.kept = self._vanished(set(new.blocks))
        self.live, self.table = new, table
        return twice

    def _vanished(self, current: set[str]) -> Points:
        vanished = self.live.without(current)
        return vanished if self.kept is None else self.kept.without(current).joined(vanished)

    def _accumulated(self, new: Points) -> Points:
        for part in self.parts():
            new = new.added_to(part)
        return new

    def expire(self, before: float) -> None:
        """Forget series that were last exported earlier than ``before``."""
        if len(self.live) and self.live.seen[0] < before:  # a frame is exported as a whole
            self.live = self.live.take(np.zeros(len(self.live), dtype=np.bool_))
        if self.kept is not None:
            self.kept = self.kept.take(self.kept.seen >= before)

    def oldest(self) -> float:
        """When the series that expires first was exported; infinite without series."""
        return min((float(part.seen.min()) for part in self.parts()), default=float("inf"))


class RefusedError(Exception):
    """A frame that cannot stand on the page. ``reason``: a word or two for the count."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


_TARGET = Name("target", "target_info", "target_info", "")
"""The family that says who was scraped; it is not ours to fill, but its names are taken."""


@dataclass
class Families:
    """All families of a page, none of which uses another's names."""

    _families: dict[Name, Family] = field(default_factory=dict)
    _owners: dict[str, Name] = field(default_factory=lambda: {"target": _TARGET, "target_info": _TARGET})

    def __iter__(self) -> Iterator[Family]:
        return iter(sorted(self._families.values(), key=lambda family: family.name.text))

    def get(self, name: Name) -> Family | None:
        """The family of that name."""
        return self._families.get(name)

    def names(self) -> frozenset[str]:
        """Every name that is taken on the page."""
        return frozenset(self._owners)

    def put(self, name: Name, frame: Frame, table: LabelTable, now: float) -> int:
        """Take in a frame; returns how many series came twice. Raises `RefusedError`."""
        if frame.values.dtype.kind not in "uifb":
            raise RefusedError(
                "no numbers", _conflict(frame, f"has values of type {frame.values.dtype}", "give numbers")
            )
        family = self._families.get(name)
        if family is None or not family.parts():
            self._remove(name)
            if not len(frame):
                return 0  # without series there is nothing to claim names for
            self._claim(name, frame)
            points = Points.of(frame, table, now)
            self._families[name] = Family(name, frame.kind, frame.unit, frame.description, frame.bounds, points, table)
            return 0
        if family.kind is not frame.kind:
            raise RefusedError("conflicting type", _conflict(frame, f"is a {family.kind} already", _REPAIR))
        if family.unit != frame.unit:
            raise RefusedError("conflicting unit", _conflict(frame, f'has the unit "{family.unit}" already', _REPAIR))
        if not _same_bounds(family.bounds, frame.bounds):
            self._remove(name)
            return self.put(name, frame, table, now)
        return family.update(frame, table, now)

    def _claim(self, name: Name, frame: Frame) -> None:
        for claim in sorted(name.claims(frame.kind)):
            if (owner := self._owners.get(claim)) is not None:
                what = f'needs the name "{claim}", which "{owner.text}" has with another unit or type'
                raise RefusedError("conflicting name", _conflict(frame, what, "rename one of them"))
        self._owners.update(dict.fromkeys(name.claims(frame.kind), name))

    def _remove(self, name: Name) -> None:
        family = self._families.pop(name, None)
        for claim in name.claims(family.kind) if family else ():
            del self._owners[claim]

    def expire(self, before: float) -> None:
        """Forget series that were last exported earlier than ``before``, and families left without any."""
        for family in list(self._families.values()):
            if family.oldest() < before:
                family.expire(before)
                if not family.parts():
                    self._remove(family.name)

    def oldest(self) -> float:
        """When the series that expires first was exported."""
        return min((family.oldest() for family in self._families.values()), default=float("inf"))


def _is_numeric(frame: Frame) -> bool:
    if frame.kind is Kind.HISTOGRAM:
        return frame.values.dtype.kind in "ui" and frame.sums is not None and frame.sums.dtype.kind in "uif"
    return frame.values.dtype.kind in "uifb"


_REPAIR = "give it another name"


def _conflict(frame: Frame, what: str, repair: str) -> str:
    return f'metric "{frame.name}" ({frame.kind}, unit "{frame.unit}") is left out: it {what}; {repair}'


def _same_bounds(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
