# SPDX-License-Identifier: Apache-2.0
"""Computes what was added to each entry of a kernel map since the last reading.

A kernel entry counts up until it is removed. The difference to its last reading is added to its row, so neither the
removal nor the return of an entry makes a row decrease or count twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import COMM_BYTES, Keys, Values, raw_keys

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened: ``rows`` (changed entries × views: the row that each counts into, -1 for none; a row may occur
    several times), ``delta`` (changed entries × columns) and ``keys`` (changed entries)."""

    rows: Positions
    delta: Values
    keys: Keys


@dataclass
class EntryDeltas:
    """The last reading of every entry of one kernel map.

    ``columns``: uint64 columns of a value. ``views``: the number of row tables that the entries count into.
    ``rows_for``: returns the rows of new entries (n keys), n × views, -1 where an entry is not part of a view.
    """

    columns: int
    views: int
    rows_for: Callable[[Keys], Positions]
    _position: dict[bytes, int] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    _previous: tuple[bytes, Positions] = (b"", np.zeros(0, np.intp))

    def __post_init__(self) -> None:
        self._last = np.zeros((0, self.columns), np.uint64)
        self._row = np.zeros((0, self.views), np.intp)
        self._changed = np.zeros(0, np.float64)

    def __len__(self) -> int:
        return len(self._position)

    def update(self, keys: Keys, values: Values, now: float) -> Change:
        """Take a reading of the whole map (keys and values in the same order) and return what changed since the last
        one.

        ``now``: monotonic seconds.
        """
        positions = self._positions(keys, now)
        last = self._last[positions]
        delta = values - last
        restarted = (values < last).any(axis=1)  # removed and created again between two readings
        delta[restarted] = values[restarted]
        changed = delta.any(axis=1)
        self._last[positions] = values
        self._changed[positions[changed]] = now
        return Change(self._row[positions[changed]], delta[changed], keys[changed])

    def forget(self, keys: Keys) -> None:
        """Forget entries that were removed from the kernel map."""
        for raw in raw_keys(keys):
            position = self._position.pop(raw, None)
            if position is not None:
                self._last[position] = 0
                self._free.append(position)
        self._previous = (b"", np.zeros(0, np.intp))

    def any_idle(self, since: float) -> bool:
        """Whether some entry has not changed after ``since``, monotonic seconds as in `update`."""
        return bool((self._changed[list(self._position.values())] <= since).any())

    def rows_in_use(self, view: int) -> Positions:
        """The rows of a view that kernel entries count into."""
        rows = self._row[list(self._position.values()), view]
        return rows[rows >= 0]

    def renumber(self, view: int, new_row: Positions) -> None:
        """Renumber the rows of a view: row *i* is now ``new_row[i]``."""
        used = list(self._position.values())
        rows = self._row[used, view]
        self._row[used, view] = np.where(rows >= 0, new_row[rows], rows)

    def regroup(self, key_dtype: np.dtype[np.void]) -> None:
        """Look up the rows again of entries whose process name may be truncated."""
        raw = list(self._position)
        keys = np.frombuffer(b"".join(raw), key_dtype)
        named = np.flatnonzero(np.char.str_len(keys["comm"]) == COMM_BYTES)
        if len(named):
            self._row[[self._position[raw[at]] for at in named]] = self.rows_for(keys[named])

    def _positions(self, keys: Keys, now: float) -> Positions:
        whole = keys.tobytes()
        if whole == self._previous[0]:  # the usual case: the same entries in the same order as last time
            return self._previous[1]
        raw = raw_keys(keys)
        known = self._position
        missing = [i for i, key in enumerate(raw) if key not in known]
        if missing:
            self._add([raw[i] for i in missing], keys[missing], now)
        positions = np.fromiter((known[key] for key in raw), np.intp, len(raw))
        self._previous = (whole, positions)
        return positions

    def _add(self, raw: list[bytes], keys: Keys, now: float) -> None:
        rows = self.rows_for(keys)
        self._grow(len(raw))
        places = [self._free.pop() for _ in raw]
        self._row[places], self._last[places], self._changed[places] = rows, 0, now
        self._position.update(zip(raw, places, strict=True))

    def _grow(self, wanted: int) -> None:
        if len(self._free) >= wanted:
            return
        old, new = len(self._row), max(64, 2 * len(self._row), len(self._row) + wanted)
        self._last = _extended(self._last, new)
        self._row, self._changed = _extended(self._row, new), _extended(self._changed, new)
        self._free.extend(range(new - 1, old - 1, -1))


def _extended(array: NDArray[Any], length: int) -> NDArray[Any]:
    longer = np.zeros((length, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
