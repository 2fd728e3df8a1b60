# SPDX-License-Identifier: Apache-2.0
"""One kernel map's way to running totals: read, attribute, add, and clear without losing a count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .entries import Counts, Entries, Keys, Positions
from .totals import Group, Snapshot, Totals


class ReadableMap(Protocol):
    """What a kernel map is to the tally (see maps.KernelMap)."""

    @property
    def name(self) -> str:
        """The map's published name."""
        ...

    @property
    def columns(self) -> int:
        """How many uint64 columns a value has."""
        ...

    def read(self) -> tuple[Keys, Counts]:
        """All entries: keys (n,) and values (n, columns)."""
        ...

    def delete(self, keys: Keys) -> None:
        """Remove entries."""
        ...


GroupsOf = Callable[[Keys], Sequence[Group]]
"""Attributes the keys of new entries: the group of each."""


@dataclass
class Tally:
    """What one kernel map has counted since the probes were attached.

    ``start``: when that was, ns since the epoch. ``limit``: how many rows there may be.
    ``stale_after``: seconds after which a row that does not change is withdrawn.
    """

    map: ReadableMap
    attributes: Sequence[str]
    groups_of: GroupsOf
    start: int
    limit: int = 100_000
    stale_after: float = inf

    def __post_init__(self) -> None:
        self._now = 0.0
        self._totals = Totals(self.attributes, self.map.columns, self.start, self.limit)
        self._entries = Entries(self.map.columns, self._rows_for)

    @property
    def kernel_entries(self) -> int:
        """Live entries in the kernel map at the last reading."""
        return len(self._entries)

    @property
    def overflowed(self) -> int:
        """How many groups share the overflow row."""
        return self._totals.overflowed

    def update(self, now: float) -> Keys:
        """Read the map and add what happened since the last reading; the keys that are in it. ``now``: monotonic."""
        self._now = now
        if self._totals.full():
            self._make_room()
        keys, values = self.map.read()
        self._totals.add(self._entries.update(keys, values, now), now)
        return keys

    def clear(self, keys: Keys) -> None:
        """Remove entries that no program can write to any more and whose final values `update` has seen."""
        if len(keys):
            self.map.delete(keys)
            self._entries.forget(keys)

    def has_stale_entries(self, keys: Keys) -> bool:
        """Whether some of the entries did not change for `stale_after`."""
        return bool(self._entries.idle(keys, self._now - self.stale_after).any())

    def snapshot(self) -> Snapshot:
        """The rows that are not stale, with their totals."""
        return self._totals.snapshot(self._now - self.stale_after)

    def _rows_for(self, keys: Keys) -> Positions:
        rows = [self._totals.row(group, self._now) for group in self.groups_of(keys)]
        return np.array(rows, np.intp)

    def _make_room(self) -> None:
        """Give up withdrawn rows that no kernel entry counts into any more."""
        kept: NDArray[np.bool_] = self._totals.changed_since(self._now - self.stale_after)
        kept[self._entries.rows_in_use()] = True
        if not kept.all():
            self._entries.renumber(self._totals.give_up(kept))
