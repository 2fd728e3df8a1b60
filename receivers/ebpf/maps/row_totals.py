# SPDX-License-Identifier: Apache-2.0
"""Running totals by row: the counts of all processes of a group since the probes were attached.

Rows outlive kernel entries, so a counter never decreases. A row that is idle for long is withdrawn from the frames but
keeps its total, and continues from there when it returns. Beyond ``limit``, new groups share one row marked
``otel.metric.overflow``. Rows that were withdrawn long ago are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.rows import OVERFLOW, Column, RowSet, Text

from .entry_deltas import Positions
from .layout import Keys, Values

Group = tuple[str | int, ...]
_COLUMNS = ("_totals", "_ids", "_starts", "_changed", "_distinct")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The current rows: ``totals`` is rows × columns, ``starts`` are their start times (ns since the epoch).

    ``distinct``: how many distinct keys counted into each row between the last two readings, if requested.
    """

    rows: RowSet
    totals: NDArray[np.uint64]
    starts: NDArray[np.uint64]
    distinct: NDArray[np.uint64]


@dataclass
class RowTotals:
    """The rows of one kernel map.

    ``attributes``: the names of a group's parts. ``columns``: uint64 columns of a value.
    ``start``: when the probes were attached, ns since the epoch. ``limit``: how many rows there may be.
    """

    attributes: Sequence[str]
    columns: int
    start: int
    limit: int = 100_000
    forgotten: int = 0
    """How many rows were dropped: a group that is new here may have had one."""
    _overflowed: set[Group] = field(default_factory=set)
    _index: dict[Group, int] = field(default_factory=dict)
    _next_id: int = 0
    _shown: tuple[Positions, RowSet] | None = None

    def __post_init__(self) -> None:
        self.newest_start = self.start
        """The latest start time of a row."""
        self._totals = np.zeros((0, self.columns), np.uint64)
        self._ids = np.zeros(0, np.uint64)
        self._starts = np.zeros(0, np.uint64)
        self._changed = np.zeros(0, np.float64)
        self._distinct = np.zeros(0, np.uint64)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def overflowed(self) -> int:
        """How many distinct groups went to the overflow row since there was last room; reported as at most
        ``limit``."""
        return len(self._overflowed)

    def groups(self) -> Iterable[Group]:
        """The groups that have a row."""
        return self._index

    def full(self) -> bool:
        """Whether a new group would exceed the limit."""
        return len(self._index) - (self.overflow_group() in self._index) >= self.limit

    def row(self, group: Group, now: float, start: int) -> int:
        """The row of a group; if new, it is created with this ``start``."""
        known = self._index.get(group)
        if known is not None:
            return known
        if self.full():
            if len(self._overflowed) < self.limit:
                self._overflowed.add(group)
            group = self.overflow_group()
            if group in self._index:
                return self._index[group]
        return self._new(group, now, start)

    def overflow_group(self) -> Group:
        """The group of the row that new groups share beyond the limit."""
        return (*("" for _ in self.attributes), OVERFLOW)  # longer than any other, so it cannot be mistaken

    def add(self, rows: Positions, delta: Values, now: float) -> None:
        """Add ``delta`` (n × columns) to ``rows`` (n; a row may occur several times). ``now``: monotonic seconds."""
        np.add.at(self._totals, rows, delta)
        self._changed[rows] = now

    def count_distinct(self, rows: Positions, keys: Keys) -> None:
        """Set what `snapshot` returns as ``distinct``: ``keys`` (n) counted into ``rows`` (n).

        A key in two generations counts once.
        """
        self._distinct[:] = 0
        if not len(keys):
            return
        same = keys.copy()
        same["generation"] = 0
        pairs = {(row, key.tobytes()) for row, key in zip(rows.tolist(), same, strict=True)}
        np.add.at(self._distinct, [row for row, _ in pairs], 1)

    def snapshot(self, changed_since: float = -inf) -> Snapshot:
        """The rows that changed after ``changed_since``; the same `RowSet` object while they are the same rows."""
        shown = np.flatnonzero(self.changed_since(changed_since))
        if self._shown is None or not np.array_equal(self._shown[0], shown):
            self._shown = (shown, self._row_set(shown))
        return Snapshot(self._shown[1], self._totals[shown], self._starts[shown], self._distinct[shown])

    def give_up(self, kept: NDArray[np.bool_]) -> Positions:
        """Drop the rows where ``kept`` is false, except the overflow row, whose counts are nowhere else.

        Returns the new number of every old row (meaningless for dropped ones).
        """
        groups = list(self._index)
        overflow = self._index.get(self.overflow_group())
        if overflow is not None:
            kept[overflow] = True
        self._index = {groups[old]: new for new, old in enumerate(np.flatnonzero(kept).tolist())}
        for name in _COLUMNS:
            setattr(self, name, getattr(self, name)[: len(kept)][kept])
        self._shown = None
        self._overflowed.clear()  # groups that still go there are counted again
        self.forgotten += int((~kept).sum())
        return np.cumsum(kept) - 1

    def changed_since(self, since: float) -> NDArray[np.bool_]:
        """Which rows changed after ``since``."""
        return np.asarray(self._changed[: len(self._index)] > since)

    def _new(self, group: Group, now: float, start: int) -> int:
        row = len(self._index)
        if row >= len(self._ids):
            self._grow(max(64, 2 * row))
        self._index[group] = row
        self._ids[row], self._starts[row], self._changed[row] = self._next_id, start, now
        self._totals[row] = self._distinct[row] = 0
        self._next_id += 1
        self.newest_start = max(self.newest_start, start)
        return row

    def _grow(self, length: int) -> None:
        for name in _COLUMNS:
            array: NDArray[Any] = getattr(self, name)
            longer = np.zeros((length, *array.shape[1:]), array.dtype)
            longer[: len(array)] = array
            setattr(self, name, longer)

    def _row_set(self, shown: Positions) -> RowSet:
        groups = list(self._index)
        chosen = [groups[position] for position in shown.tolist()]
        columns = {name: _column([group[i] for group in chosen]) for i, name in enumerate(self.attributes)}
        overflow = self.overflow_group()
        if overflow in self._index:
            columns[OVERFLOW] = Text.of("true" if group == overflow else "" for group in chosen)
        return RowSet(self._ids[shown], columns)


def _column(values: list[str | int]) -> Column:
    if values and all(isinstance(value, int) for value in values):
        return np.array(values, np.int64)
    return Text.of(str(value) for value in values)
