# SPDX-License-Identifier: Apache-2.0
"""Running totals of one kernel map: read, attribute, add, and clear without losing a count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .entry_deltas import EntryDeltas, Positions
from .layout import Keys, Values
from .row_totals import Group, RowTotals, Snapshot


class ReadableMap(Protocol):
    """What `MapTotals` needs of a kernel map (see kernel_map.KernelMap)."""

    @property
    def name(self) -> str:
        """The map's published name."""
        ...

    @property
    def columns(self) -> int:
        """How many uint64 columns a value has."""
        ...

    def read(self) -> tuple[Keys, Values]:
        """All entries: keys (n,) and values (n, columns)."""
        ...

    def delete(self, keys: Keys) -> None:
        """Remove entries."""
        ...


def _same() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class View:
    """One way to group a map's entries: ``attributes`` names the parts of a group, ``groups_of`` returns the group of
    each key, None for keys that are not part of the view. Entries of the same group are added up. ``version``: called
    after the keys were read; changes when known keys may belong to other groups from now on."""

    attributes: tuple[str, ...]
    groups_of: Callable[[Keys], Sequence[Group | None]]
    version: Callable[[], int] = _same


FORGET_AFTER = 3600.0
"""Longer than exporters keep series that are gone, so that no published series decreases: it ended, and restarts."""
_TIDIED = 4
"""How often in that time views are searched for such rows, so that memory is bounded by the live ones."""


@dataclass
class MapTotals:
    """The totals of one kernel map since the probes were attached, for each view.

    ``start``: when they were attached, ns since the epoch. ``limit``: the most rows of a view. ``stale_after``: seconds
    after which an unchanged row is withdrawn. ``forget_after``: seconds after which a withdrawn row is dropped, at the
    latest a quarter of that later, and at once if a view is full. ``distinct``: the column whose growth decides which
    distinct keys of each row are counted at each reading.
    """

    map: ReadableMap
    views: Sequence[View]
    start: int
    limit: int = 100_000
    stale_after: float = inf
    distinct: int | None = None
    forget_after: float = field(default_factory=lambda: FORGET_AFTER)

    def __post_init__(self) -> None:
        self._now, self._before, self._time = 0.0, self.start, self.start
        self._tidied = -inf
        columns = self.map.columns
        self._totals = [RowTotals(view.attributes, columns, self.start, self.limit) for view in self.views]
        self._versions = self._ask_versions()
        self._entries = EntryDeltas(columns, len(self.views), self._rows_for)

    @property
    def kernel_entries(self) -> int:
        """Live entries in the kernel map at the last reading."""
        return len(self._entries)

    @property
    def overflowed(self) -> int:
        """How many groups share an overflow row."""
        return sum(totals.overflowed for totals in self._totals)

    @property
    def forgotten(self) -> int:
        """How many rows were dropped since the start."""
        return sum(totals.forgotten for totals in self._totals)

    @property
    def newest_start(self) -> int:
        """The latest start time of a row, ns since the epoch; no frame may have an earlier time."""
        return max(totals.newest_start for totals in self._totals)

    def groups(self) -> Iterator[Group]:
        """The groups that have a row in some view."""
        return chain.from_iterable(totals.groups() for totals in self._totals)

    def update(self, now: float, time: int = 0, *, ahead: bool = False) -> Keys:
        """Read the map, add what happened since the last reading, and return the map's keys.

        ``now``: monotonic seconds; ``time``: the same time in ns since the epoch; ``ahead``: whether that is ahead of
        the wall clock.
        """
        time = max(time, self.start)
        # no row starts after its first reading, nor later than others while times wait for the wall clock
        self._before = min(self._time, time, self.newest_start if ahead else time)
        self._now, self._time = now, time
        self._tidy(now)
        keys, values = self.map.read()
        self._follow_names(keys)
        change = self._entries.update(keys, values, now)
        for view, totals in enumerate(self._totals):
            rows = change.rows[:, view]
            part = rows >= 0
            totals.add(rows[part], change.delta[part], now)
            if self.distinct is not None:
                grown = part & (change.delta[:, self.distinct] > 0)
                totals.count_distinct(rows[grown], change.keys[grown])
        return keys

    def clear(self, keys: Keys) -> None:
        """Remove entries to which no program writes any longer and whose final values `update` has seen."""
        if len(keys):
            self.map.delete(keys)
            self._entries.forget(keys)

    def has_stale_entries(self, now: float) -> bool:
        """Whether some kernel entry has not changed for `stale_after`."""
        return self._entries.any_idle(now - self.stale_after)

    def snapshot(self, view: int = 0) -> Snapshot:
        """The rows of a view that are not stale, with their totals."""
        return self._totals[view].snapshot(self._now - self.stale_after)

    def _follow_names(self, keys: Keys) -> None:
        """Count what was added since the last reading into the rows that the entries belong to now."""
        versions = self._ask_versions()
        if versions != self._versions:
            self._versions = versions
            self._entries.regroup(keys.dtype)

    def _ask_versions(self) -> list[int]:
        """Call each once, since that takes system calls and views may share them."""
        return [version() for version in dict.fromkeys(view.version for view in self.views)]

    def _rows_for(self, keys: Keys) -> Positions:
        rows = np.zeros((len(keys), len(self.views)), np.intp)
        for i, (view, totals) in enumerate(zip(self.views, self._totals, strict=True)):
            groups = view.groups_of(keys)
            # a group without a row had no counts by the last reading, or its row was dropped, or its counts are in
            # another row
            rows[:, i] = [-1 if group is None else totals.row(group, self._now, self._before) for group in groups]
        return rows

    def _tidy(self, now: float) -> None:
        due = now - self._tidied >= self.forget_after / _TIDIED
        for view, totals in enumerate(self._totals):
            if due or totals.full():
                self._reclaim_rows(view, totals)
        if due:
            self._tidied = now

    def _reclaim_rows(self, view: int, totals: RowTotals) -> None:
        """Drop rows that were withdrawn long ago and that no kernel entry counts into any longer."""
        kept: NDArray[np.bool_] = totals.changed_since(self._now - max(self.stale_after, self.forget_after))
        kept[self._entries.rows_in_use(view)] = True
        if not kept.all():
            self._entries.renumber(view, totals.give_up(kept))
