# SPDX-License-Identifier: Apache-2.0
"""Positions of rows in sorted arrays, for state that is kept per row id between batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from .rows import RowSet

Mask = NDArray[np.bool_]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Change:
    """How arrays with one entry per row follow an index: the ``kept`` old entries (None: all), then ``added`` new ones,
    all of them in ``order`` (None: unchanged)."""

    kept: Mask | None
    added: int
    order: Positions | None

    def of(self, old: NDArray[Any], fill: object) -> NDArray[Any]:
        """The array after the change; new entries are ``fill``, a number or an array of ``added``."""
        array = old if self.kept is None else old[self.kept]
        if self.added:
            new = np.empty((self.added, *old.shape[1:]), old.dtype)
            new[...] = fill
            array = np.concatenate([array, new])
        return array if self.order is None else array[self.order]


class RowIndex:
    """Ids of rows, ascending. ``forgotten``: the highest forgotten id, -1 if there is none."""

    def __init__(self, forgotten: int = -1) -> None:
        self.ids = np.zeros(0, np.uint64)
        self.places: Positions = np.zeros(0, np.intp)
        """The positions of the last row set's rows."""
        self.forgotten = forgotten
        self._rows = ref(RowSet(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def highest(self) -> int:
        """The highest row id so far; forgotten rows may have higher ids than known ones."""
        return max(self.forgotten, int(self.ids.max(initial=0)))

    def may_return(self, ids: NDArray[np.uint64]) -> Mask:
        """Which ids may be those of forgotten rows. Ids are ascending, so higher ones are new."""
        return np.asarray((ids <= np.uint64(max(0, self.forgotten))) & (self.forgotten >= 0))

    def follow(self, rows: RowSet, keep: Callable[[Mask], Mask]) -> Change | None:
        """Find the rows and add new ones. ``keep``: which of the absent rows to keep.

        Returns the change to apply to arrays; None if there is none.
        """
        if rows is self._rows():
            return None
        place = np.minimum(np.searchsorted(self.ids, rows.ids), max(0, len(self) - 1))
        known = self.ids[place] == rows.ids if len(self) else np.zeros(len(rows), np.bool_)
        absent = np.ones(len(self), np.bool_)
        absent[place[known]] = False
        change = self._change(~absent | keep(absent), np.unique(rows.ids[~known]))
        self.places, self._rows = np.searchsorted(self.ids, rows.ids), ref(rows)
        return change

    def _change(self, kept: Mask, new: NDArray[np.uint64]) -> Change:
        self.forgotten = max([self.forgotten, *self.ids[~kept][-1:].tolist()])
        left = self.ids if kept.all() else self.ids[kept]
        ids = np.concatenate([left, new])
        in_order = not len(left) or not len(new) or new[0] > left[-1]
        order = None if in_order else np.argsort(ids, kind="stable")
        self.ids = ids if order is None else ids[order]
        return Change(None if len(left) == len(kept) else kept, len(new), order)


def latest(absent: Mask, seen: NDArray[Any], most: int) -> Mask:
    """Which of the absent rows to keep: all, or the ``most`` recently seen ones."""
    surplus = int(absent.sum()) - most
    if surplus <= 0:
        return absent
    kept, candidates = absent.copy(), np.flatnonzero(absent)
    kept[candidates[np.argpartition(seen[candidates], surplus - 1)[:surplus]]] = False
    return kept
