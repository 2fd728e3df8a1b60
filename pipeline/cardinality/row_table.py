# SPDX-License-Identifier: Apache-2.0
"""The rows of one stream as they come: what each counted last, and whether it is shown by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Kind, Temporality
from ebpf_sidecar.pipeline.rows import RowSet

from .owners import FORGOTTEN, Mask, Positions

REMEMBERED = 50_000
"""How many absent rows of a stream are remembered; one that returns after it was forgotten loses an interval."""
FORGET_AFTER = 7200.0
"""Seconds for which an absent row is remembered; longer than a receiver keeps one, whose id then never returns."""
_NEVER = float("-inf")
_COLUMNS = {"owner": FORGOTTEN, "own": False, "fresh": True, "seen": _NEVER, "shown": _NEVER, "start": 0, "begun": 0}
"""What is kept of each row besides its numbers, and what that is at first."""
Parts = tuple[NDArray[Any], ...]
"""What a frame holds: values, and for histograms sums; each rows × columns."""


def parts_of(frame: Frame) -> Parts:
    """The frame's numbers, see `Parts`."""
    values = frame.values if frame.values.ndim > 1 else frame.values[:, None]
    return (values,) if frame.sums is None else (values, frame.sums.reshape(len(frame), 1))


def is_cumulative(frame: Frame) -> bool:
    """Whether the frame's values only grow."""
    return frame.kind in (Kind.COUNTER, Kind.HISTOGRAM) and frame.temporality is not Temporality.DELTA


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame that was taken in. ``at``: where the table has its rows. ``growth``: what was counted since the frame
    before, or the values themselves where they do not grow. ``fresh``: which rows were never seen before. ``since``:
    the time of the frame before, 0 if there was none."""

    frame: Frame
    at: Positions
    growth: Parts
    fresh: Mask
    since: int


class RowTable:
    """All rows of a stream that may matter again, sorted by id. Arrays have one entry per row.

    ``owner``: see `Owners`. ``own``: whether it is a series of its own, ``shown``: when it was that last, monotonic
    seconds. ``last``: what it had counted when it was seen last. ``begun``: since when it counts by itself (ns since
    the epoch) where a part is in a row that is shared, else 0; ``offsets``: that part, by id.
    """

    def __init__(self, frame: Frame, forgotten: int = -1) -> None:
        self.like = _shape(frame)
        self.cumulative = is_cumulative(frame)
        self.time = 0
        self.forgotten = forgotten
        self._rows = ref(RowSet(np.zeros(0, np.uint64)))
        self.present: Positions = np.zeros(0, np.intp)
        self.ids = np.zeros(0, np.uint64)
        self.owner = np.zeros(0, np.intp)
        self.own, self.fresh = np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        self.seen, self.shown = np.zeros(0), np.zeros(0)
        self.start, self.begun = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self.last = [part[:0].copy() for part in parts_of(frame)] if self.cumulative else []
        self.offsets: dict[int, Parts] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def fits(self, frame: Frame) -> bool:
        """Whether the frame goes on with the table's numbers; false for other buckets, or another kind."""
        return self.like == _shape(frame) and self.cumulative == is_cumulative(frame)

    def highest(self) -> int:
        """The highest id of a row that was ever here; forgotten ones may be above all that are known."""
        return max(self.forgotten, int(self.ids.max(initial=0)))

    def on_page(self, before: float) -> Mask:
        """Which rows were series of their own at ``before`` or later."""
        return np.asarray(self.shown >= before)

    def take(self, frame: Frame, owner: Positions, now: float) -> Taken:
        """Take over what the frame says."""
        if frame.rows is not self._rows():
            self._make_room(frame.rows, now)
        at = self.present
        fresh = self.fresh[at]
        self.owner[at], self.seen[at], self.fresh[at] = owner, now, False
        growth = self._growth(frame, at, fresh) if self.cumulative else parts_of(frame)
        since, self.time = self.time, frame.time_unix_nano
        return Taken(frame, at, growth, fresh, since)

    def _growth(self, frame: Frame, at: Positions, fresh: Mask) -> Parts:
        parts, starts = parts_of(frame), frame.start_times()
        before = [last[at] for last in self.last]
        restarted = (parts[0] < before[0]).any(axis=1)
        restarted |= (starts != self.start[at]) & (starts >= np.uint64(self.time)) & ~fresh
        self.start[at] = starts
        # ids are given in turn, so one that is not above a forgotten one may be that one: its past is not counted twice
        returned = fresh & (frame.rows.ids <= np.uint64(max(0, self.forgotten))) & (self.forgotten >= 0)
        for part, last, old in zip(parts, self.last, before, strict=True):
            old[restarted] = 0
            old[returned] = part[returned]
            last[at] = part
        self.begun[at[restarted]] = 0
        return tuple(_usable(part - old) for part, old in zip(parts, before, strict=True))

    def begin_anew(self, at: Positions) -> None:
        """Rows that become series of their own: what they have counted until now is in a row that is shared."""
        own = set(self.ids[self.own].tolist())
        self.offsets = {id: parts for id, parts in self.offsets.items() if id in own}  # noqa: A001
        for place in at.tolist():
            self.offsets[int(self.ids[place])] = tuple(last[place].copy() for last in self.last)
        self.begun[at] = self.time

    def shown_values(self, taken: Taken, chosen: Positions) -> Parts:
        """What chosen rows of a frame show by themselves."""
        parts = tuple(part[chosen] for part in parts_of(taken.frame))
        at = taken.at[chosen]
        for row in np.flatnonzero(self.begun[at]).tolist():
            for part, offset in zip(parts, self.offsets[int(self.ids[at[row]])], strict=True):
                part[row] -= offset
        return parts

    def _make_room(self, rows: RowSet, now: float) -> None:
        """Places for rows that were not there; those absent for long are forgotten, or the longest of too many."""
        place = np.minimum(np.searchsorted(self.ids, rows.ids), max(0, len(self.ids) - 1))
        known = self.ids[place] == rows.ids if len(self.ids) else np.zeros(len(rows), np.bool_)
        absent = np.ones(len(self.ids), np.bool_)
        absent[place[known]] = False
        new = np.unique(rows.ids[~known])
        kept = ~absent | self._latest(absent & (self.seen > now - FORGET_AFTER))
        if not kept.all():
            self.forgotten = max(self.forgotten, int(self.ids[~kept].max()))
            self._choose(kept)
        if len(new):
            self._append(new)
        self.present = np.searchsorted(self.ids, rows.ids)
        self._rows = ref(rows)

    def _choose(self, rows: Mask | Positions) -> None:
        """Keep some rows, or put them into another order."""
        for name in ("ids", *_COLUMNS):
            setattr(self, name, getattr(self, name)[rows])
        self.last = [part[rows] for part in self.last]

    def _append(self, new: NDArray[np.uint64]) -> None:
        """Places for rows with these ids, which are ascending."""
        in_order = not len(self.ids) or new[0] > self.ids[-1]
        self.ids = np.concatenate([self.ids, new])
        for name, fill in _COLUMNS.items():
            setattr(self, name, _joined(getattr(self, name), len(new), fill))
        self.last = [_joined(part, len(new), 0) for part in self.last]
        if not in_order:
            self._choose(np.argsort(self.ids, kind="stable"))

    def _latest(self, absent: Mask) -> Mask:
        """Which of these absent rows to keep: all, or those seen last when there are more than `REMEMBERED`."""
        surplus = int(absent.sum()) - REMEMBERED
        if surplus <= 0:
            return absent
        kept, candidates = absent.copy(), np.flatnonzero(absent)
        kept[candidates[np.argpartition(self.seen[candidates], surplus)[:surplus]]] = False
        return kept

    def memory(self) -> Iterator[int]:
        """The bytes of all arrays."""
        arrays = (self.ids, self.owner, self.own, self.fresh, self.seen, self.shown, self.start, self.begun)
        return (array.nbytes for array in (*arrays, *self.last))


def _shape(frame: Frame) -> tuple[object, ...]:
    bounds = None if frame.bounds is None else frame.bounds.tobytes()
    return (frame.kind, frame.values.dtype, frame.values.shape[1:], bounds)


def _joined(old: NDArray[Any], number: int, fill: object) -> NDArray[Any]:
    return np.concatenate([old, np.full((number, *old.shape[1:]), fill, old.dtype)])


def _usable(growth: NDArray[Any]) -> NDArray[Any]:
    """Without what is no counter's growth: infinite floats and those that are no numbers."""
    if growth.dtype.kind != "f":
        return growth
    return np.where(np.isfinite(growth), growth, 0.0)
