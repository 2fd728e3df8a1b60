# SPDX-License-Identifier: Apache-2.0
"""The latest value of every series, by metric family.

A series is what Prometheus takes it for: a name and its label text. Series that the newest frame does not hold keep
their last value until they expire; series that return go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pipeline.frame import Frame, Kind, Temporality
from .labels import LabelTable
from .names import Name


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Series of one family; arrays with one entry (row) per block.

    ``blocks``: label text. ``times``, ``starts``: nanoseconds since the epoch. ``seen``: monotonic seconds at which
    the series was last exported.
    """

    blocks: list[str]
    values: NDArray[Any]
    sums: NDArray[np.float64] | None
    times: NDArray[np.int64]
    starts: NDArray[np.uint64]
    seen: NDArray[np.float64]

    @classmethod
    def of(cls, frame: Frame, table: LabelTable, now: float) -> Points:
        """The frame's points, exported ``now``, the last where several have the same labels."""
        if table.selection is not None:
            frame = frame.take(table.selection)
        shape = (len(frame),)
        return cls(
            table.blocks,
            frame.values,
            frame.sums,
            np.broadcast_to(np.int64(frame.time_unix_nano), shape),  # a view: one number in memory
            frame.start_times(),
            np.broadcast_to(np.float64(now), shape),
        )

    def __len__(self) -> int:
        return len(self.blocks)

    def slices(self, size: int) -> Iterator[Points]:
        """The same series, at most ``size`` at a time, as views."""
        if len(self) <= size:
            yield self
            return
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            sums = None if self.sums is None else self.sums[part]
            yield Points(
                self.blocks[part], self.values[part], sums, self.times[part], self.starts[part], self.seen[part]
            )

    def take(self, mask: NDArray[np.bool_]) -> Points:
        """The series that the mask chooses."""
        if mask.all():
            return self
        blocks = np.array(self.blocks, dtype=object)[mask].tolist()
        sums = None if self.sums is None else self.sums[mask]
        return Points(blocks, self.values[mask], sums, self.times[mask], self.starts[mask], self.seen[mask])

    def without(self, blocks: set[str]) -> Points:
        """The series whose labels are not among ``blocks``."""
        return self.take(np.fromiter((block not in blocks for block in self.blocks), np.bool_, len(self)))

    def joined(self, other: Points) -> Points:
        """These series and the other ones."""
        if not len(other):
            return self
        if not len(self):
            return other
        sums = None if self.sums is None or other.sums is None else np.concatenate((self.sums, other.sums))
        pairs = ((self.values, other.values), (self.times, other.times), (self.starts, other.starts))
        values, times, starts = (np.concatenate(pair) for pair in pairs)
        return Points(self.blocks + other.blocks, values, sums, times, starts, np.concatenate((self.seen, other.seen)))

    def added_to(self, earlier: Points) -> Points:
        """These deltas on top of what the same series had counted before, and since when."""
        if self.blocks is earlier.blocks:
            here = there = np.arange(len(self))
        else:
            position = {block: number for number, block in enumerate(earlier.blocks)}
            there = np.array([position.get(block, -1) for block in self.blocks], dtype=np.intp)
            here = np.flatnonzero(there >= 0)
            there = there[here]
        values, starts = self.values.copy(), self.starts.copy()
        values[here] += earlier.values[there]
        starts[here] = earlier.starts[there]
        if self.sums is None or earlier.sums is None:
            return replace(self, values=values, starts=starts)
        sums = self.sums.copy()
        sums[here] += earlier.sums[there]
        return replace(self, values=values, starts=starts, sums=sums)


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


@dataclass
class Families:
    """All families of a page, none of which uses another's names."""

    _families: dict[Name, Family] = field(default_factory=dict)
    _owners: dict[str, Name] = field(default_factory=dict)

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


_REPAIR = "give it another name"


def _conflict(frame: Frame, what: str, repair: str) -> str:
    return f'metric "{frame.name}" ({frame.kind}, unit "{frame.unit}") is left out: it {what}; {repair}'


def _same_bounds(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
