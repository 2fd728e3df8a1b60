# SPDX-License-Identifier: Apache-2.0
"""The rows of one stream: the last count of each, and whether it is a series of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Kind, Temporality
from ebpf_sidecar.pipeline.row_index import RowIndex, latest
from ebpf_sidecar.pipeline.rows import RowSet

from .owners import FORGOTTEN, Mask, Positions

MAX_ABSENT_ROWS = 50_000
"""How many absent rows of a stream are remembered; a forgotten row loses one interval when it returns."""
FORGET_AFTER = 7200.0
"""How long an absent row is remembered, in seconds; longer than a receiver keeps a row, so its id cannot return."""
_NEVER = float("-inf")
_COLUMNS = {
    "owner": FORGOTTEN,
    "own": False,
    "fresh": True,
    "seen": _NEVER,
    "shown": _NEVER,
    "start": 0,
    "own_start": 0,
}
"""The state of each row besides its numbers, with initial values."""
Parts = tuple[NDArray[Any], ...]
"""The numbers of a frame: values, and for histograms sums; each rows × columns."""


def parts_of(frame: Frame) -> Parts:
    """The frame's numbers, see `Parts`."""
    values = frame.values if frame.values.ndim > 1 else frame.values[:, None]
    return (values,) if frame.sums is None else (values, frame.sums.reshape(len(frame), 1))


def is_cumulative(frame: Frame) -> bool:
    """Whether the frame's values only grow."""
    return frame.kind in (Kind.COUNTER, Kind.HISTOGRAM) and frame.temporality is not Temporality.DELTA


@dataclass(frozen=True, slots=True)
class FrameGrowth:
    """A frame and its growth. ``at``: the positions of its rows in the table. ``growth``: what was counted since the
    previous frame, or the values themselves if they are not cumulative. ``fresh``: which rows are new. ``since``: the
    time of the previous frame, 0 if there was none."""

    frame: Frame
    at: Positions
    growth: Parts
    fresh: Mask
    since: int


class RowTable:
    """All rows of a stream that may matter again, sorted by id. Arrays have one entry per row.

    ``owner``: see `Owners`. ``own``: whether it is a series of its own; ``shown``: when it last was, in monotonic
    seconds. ``last``: its count when it was last seen. ``own_start``: when it started counting on its own (ns since the
    epoch) if an earlier part is in a shared row, else 0; ``offsets``: that part, by id.
    """

    def __init__(self, frame: Frame, forgotten: int = -1) -> None:
        self.like = _shape(frame)
        self.cumulative = is_cumulative(frame)
        self.time = 0
        self._index = RowIndex(forgotten)
        self.owner = np.zeros(0, np.intp)
        self.own, self.fresh = np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        self.seen, self.shown = np.zeros(0), np.zeros(0)
        self.start, self.own_start = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self.last = [part[:0].copy() for part in parts_of(frame)] if self.cumulative else []
        self.offsets: dict[int, Parts] = {}

    @property
    def ids(self) -> NDArray[np.uint64]:
        """The rows' ids."""
        return self._index.ids

    @property
    def present(self) -> Positions:
        """The positions of the last frame's rows."""
        return self._index.places

    def __len__(self) -> int:
        return len(self._index)

    def fits(self, frame: Frame) -> bool:
        """Whether the frame continues the table's numbers; false for other buckets, or another kind."""
        return self.like == _shape(frame) and self.cumulative == is_cumulative(frame)

    def highest(self) -> int:
        """The highest row id so far; forgotten rows may have higher ids than known ones."""
        return self._index.highest()

    def on_page(self, before: float) -> Mask:
        """Which rows were series of their own at ``before`` or later."""
        return np.asarray(self.shown >= before)

    def take(self, frame: Frame, owner: Positions, now: float) -> FrameGrowth:
        """Store the frame's numbers."""
        self._follow(frame.rows, now)
        at = self.present
        fresh = self.fresh[at]
        self.owner[at], self.seen[at], self.fresh[at] = owner, now, False
        growth = self._growth(frame, at, fresh) if self.cumulative else parts_of(frame)
        since, self.time = self.time, frame.time_unix_nano
        return FrameGrowth(frame, at, growth, fresh, since)

    def _growth(self, frame: Frame, at: Positions, fresh: Mask) -> Parts:
        parts, starts = parts_of(frame), frame.start_times()
        before = [last[at] for last in self.last]
        restarted = (parts[0] < before[0]).any(axis=1)
        restarted |= (starts != self.start[at]) & (starts >= np.uint64(self.time)) & ~fresh
        self.start[at] = starts
        returned = fresh & self._index.may_return(frame.rows.ids)  # their past is not counted twice
        for part, last, old in zip(parts, self.last, before, strict=True):
            old[restarted] = 0
            old[returned] = part[returned]
            last[at] = part
        self.own_start[at[restarted]] = 0
        return tuple(_usable(part - old) for part, old in zip(parts, before, strict=True))

    def start_own_series(self, at: Positions) -> None:
        """Make rows series of their own: their counts up to now are in a shared row."""
        own = set(self.ids[self.own].tolist())
        self.offsets = {id: parts for id, parts in self.offsets.items() if id in own}  # noqa: A001
        for place in at.tolist():
            self.offsets[int(self.ids[place])] = tuple(last[place].copy() for last in self.last)
        self.own_start[at] = self.time

    def shown_values(self, taken: FrameGrowth, chosen: Positions) -> Parts:
        """The values of the chosen rows as series of their own."""
        parts = tuple(part[chosen] for part in parts_of(taken.frame))
        at = taken.at[chosen]
        for row in np.flatnonzero(self.own_start[at]).tolist():
            for part, offset in zip(parts, self.offsets[int(self.ids[at[row]])], strict=True):
                part[row] -= offset
        return parts

    def _follow(self, rows: RowSet, now: float) -> None:
        """Add new rows, and forget those that were absent for long, or the longest absent of too many."""
        seen = self.seen
        change = self._index.follow(
            rows, lambda absent: latest(absent & (seen > now - FORGET_AFTER), seen, MAX_ABSENT_ROWS)
        )
        if change is not None:
            for name, fill in _COLUMNS.items():
                setattr(self, name, change.of(getattr(self, name), fill))
            self.last = [change.of(part, 0) for part in self.last]

    def memory(self) -> Iterator[int]:
        """The bytes of all arrays."""
        arrays = (self.ids, self.owner, self.own, self.fresh, self.seen, self.shown, self.start, self.own_start)
        return (array.nbytes for array in (*arrays, *self.last))


def _shape(frame: Frame) -> tuple[object, ...]:
    bounds = None if frame.bounds is None else frame.bounds.tobytes()
    return (frame.kind, frame.values.dtype, frame.values.shape[1:], bounds)


def _usable(growth: NDArray[Any]) -> NDArray[Any]:
    """The growth with infinite floats and NaN replaced by 0."""
    if growth.dtype.kind != "f":
        return growth
    return np.where(np.isfinite(growth), growth, 0.0)
