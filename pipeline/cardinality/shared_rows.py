# SPDX-License-Identifier: Apache-2.0
"""The shared rows of one stream: one called `OTHER` for each cgroup, and one overflow row for all others.

Shared rows keep all attributes except the process (system call, device, cause); the overflow row has no other
attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.rows import OVERFLOW, Column, RowSet, Text, joined, once_per_row_set, texts

from .identity import Hashes, attribute_hashes
from .owners import EXECUTABLE, OTHER, PROCESS, Mask, Positions, has
from .row_table import Parts

OVERFLOW_ID = 1 << 63
"""The overflow row's id. Other shared rows have odd ids in the upper half, derived from their attributes."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which rows share a row. ``ids``: the id of the shared row, for each row. ``first``: the position of one row for
    each of the ascending ``distinct`` ids."""

    ids: Hashes
    distinct: Hashes
    first: Positions

    def examples(self, ids: Hashes) -> Positions:
        """The position of one row for each of the ids, -1 if there is none."""
        if not len(self.distinct):
            return np.full(len(ids), -1, np.intp)
        place = np.minimum(np.searchsorted(self.distinct, ids), len(self.distinct) - 1)
        return np.where(self.distinct[place] == ids, self.first[place], -1)


@once_per_row_set
def sharing_of(rows: RowSet) -> Sharing | None:
    """How rows share the rows of their cgroups; None if they have no process attributes."""
    if not any(name in rows.columns for name in PROCESS):
        return None
    columns = {name: column for name, column in rows.columns.items() if name not in PROCESS}
    ids = attribute_hashes(columns, len(rows)) | np.uint64(OVERFLOW_ID + 1)
    return Sharing(ids, *np.unique(ids, return_index=True))


def rows_with_shared(rows: RowSet, own: Positions, first: Positions, ids: NDArray[np.uint64]) -> RowSet:
    """The rows at ``own``, followed by shared rows with ``ids``, described by the rows at ``first``; the overflow row,
    which no row describes, comes last."""
    overflow = len(ids) - len(first)
    columns: dict[str, Column] = {}
    empty = Text.constant("", len(rows))
    for name, column in {EXECUTABLE: empty, **rows.columns, OVERFLOW: rows.columns.get(OVERFLOW, empty)}.items():
        if name in PROCESS:
            columns[name] = _named(texts(column), own, len(first), OTHER if name == EXECUTABLE else "", overflow)
        elif not overflow and not isinstance(column, Text):
            columns[name] = joined(column[own], column[first])
        else:
            same = texts(column).take(np.concatenate([own, first]))
            columns[name] = _followed(same.trimmed(), "true" if name == OVERFLOW else "", overflow)
    if has(texts(columns[OVERFLOW]), "").all():
        del columns[OVERFLOW]
    return RowSet(np.concatenate([rows.ids[own], ids]), columns)


def _named(column: Text, own: Positions, shared: int, name: str, overflow: int) -> Text:
    return _followed(_followed(column.take(own).trimmed(), name, shared), "", overflow)


def _followed(column: Text, word: str, times: int) -> Text:
    """The column, followed by ``word`` repeated ``times`` times."""
    if not times:
        return column
    words = column.words if word in column.words else (*column.words, word)
    codes = np.concatenate([column.codes, np.full(times, words.index(word), np.int32)])
    return Text(codes, words)


class SharedRows:
    """The totals of a stream's shared rows. ``ids``, ``grown`` and ``seen`` (when it last grew and was last reported,
    in monotonic seconds), ``start`` (ns since the epoch) and each of ``totals`` have one entry per row."""

    def __init__(self, like: Parts) -> None:
        self._slots: dict[int, int] = {}
        self.ids = np.zeros(0, np.uint64)
        self.grown, self.seen = np.zeros(0), np.zeros(0)
        self.start = np.zeros(0, np.uint64)
        self.totals = [np.zeros((0, *part.shape[1:]), part.dtype) for part in like]

    def __len__(self) -> int:
        return len(self._slots)

    def knows(self, id: int) -> bool:  # noqa: A002 # the name in row sets
        """Whether there is such a row."""
        return id in self._slots

    def slots(self, ids: NDArray[np.uint64], start: int) -> Positions:
        """The positions of the rows with these ids; new ones start at 0 and count since ``start``."""
        slots = np.array([self._slots.setdefault(id, len(self._slots)) for id in ids.tolist()], np.intp)  # noqa: A001
        new = len(self._slots) - len(self.ids)
        if new:
            self.ids = np.fromiter(self._slots, np.uint64, len(self._slots))
            self.grown, self.seen = (np.append(times, np.zeros(new)) for times in (self.grown, self.seen))
            self.start = np.append(self.start, np.full(new, start, np.uint64))
            self.totals = [np.concatenate([t, np.zeros((new, *t.shape[1:]), t.dtype)]) for t in self.totals]
        return slots

    def add(self, slots: Positions, growth: Parts) -> None:
        """Add ``growth`` to the rows at ``slots``, which may repeat."""
        order = np.argsort(slots, kind="stable")
        where, starts = np.unique(slots[order], return_index=True)
        for total, part in zip(self.totals, growth, strict=True):
            if len(where):
                total[where] += np.add.reduceat(part[order], starts, axis=0)

    def clear(self) -> None:
        """Reset values that are not cumulative: they are summed in each batch."""
        for total in self.totals:
            total[:] = 0

    def besides_overflow(self) -> int:
        """The number of rows without the overflow row."""
        return len(self) - self.knows(OVERFLOW_ID)

    def oldest(self) -> float:
        """When the row that expires first was last reported; infinite without rows."""
        return float(self.seen.min(initial=np.inf))

    def expire(self, before: float) -> None:
        """Forget rows that were last reported before ``before``: they start at 0 when they return."""
        kept: Mask = self.seen >= before
        if kept.all():
            return
        self.ids, self.start = self.ids[kept], self.start[kept]
        self.grown, self.seen = self.grown[kept], self.seen[kept]
        self.totals = [total[kept] for total in self.totals]
        self._slots = {id: slot for slot, id in enumerate(self.ids.tolist())}  # noqa: A001
