# SPDX-License-Identifier: Apache-2.0
"""Whom rows are about: an owner is one process name in one cgroup, whatever is measured of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rows import Column, RowSet, Text, once_per_row_set

CGROUP = "process.linux.cgroup"
EXECUTABLE = "process.executable.name"
PROCESS = (EXECUTABLE, "process.pid")
"""The attributes that rows lose when they share one of their cgroup; the name becomes `OTHER`."""
OTHER = "other"
OVERFLOW = "otel.metric.overflow"
"""The attribute that the OpenTelemetry specification gives to what exceeds a cardinality limit."""
NOBODY, OTHERS, OVERFLOWED, FORGOTTEN = -1, -2, -3, -4
"""Instead of an owner's number: the row names no process; it is the one that others share, or shares the overflow row,
since before it came; its owner was forgotten."""
MEASURES = 3
"""What an owner is judged by: seconds, bytes, and how often anything else was counted."""

Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]


def texts(column: Column) -> Text:
    """A column as text, in which an attribute can be absent."""
    return column if isinstance(column, Text) else Text.of(map(str, column.tolist()))


@dataclass
class Owners:
    """All owners that have rows, numbered. Arrays have one entry per owner.

    ``groups``: the number of the owner's cgroup. ``amounts``: owners × `MEASURES`, what it did, of late weighing more.
    ``named``: whether it has rows of its own. ``fresh``: not decided yet.
    """

    def __init__(self) -> None:
        self._index: dict[tuple[str, ...], int] = {}
        self._cgroups: dict[str, int] = {}
        self._epoch = 0
        self.groups = np.zeros(0, np.intp)
        self.amounts = np.zeros((0, MEASURES))
        self.named = np.zeros(0, np.bool_)
        self.fresh = np.zeros(0, np.bool_)
        self.of = once_per_row_set(self._of, version=lambda: self._epoch)

    def __len__(self) -> int:
        return len(self._index)

    def _of(self, rows: RowSet) -> Positions:
        """The owner's number of each row, or `NOBODY`, `OTHERS` or `OVERFLOWED`."""
        columns = [texts(rows.columns[name]) for name in (CGROUP, *PROCESS) if name in rows.columns]
        names = [name for name in (CGROUP, *PROCESS) if name in rows.columns]
        first, kinds = distinct(columns, len(rows))
        chosen = [column.take(first).strings() for column in columns]
        records = [dict(zip(names, words, strict=True)) for words in zip(*chosen, strict=True)] or [{}] * len(first)
        numbers = np.array([self._number(record) for record in records], np.intp)
        owners = numbers[kinds] if len(rows) else np.zeros(0, np.intp)
        self._grow()
        marked = rows.columns.get(OVERFLOW)
        if marked is not None:
            owners[present(texts(marked))] = OVERFLOWED
        return owners

    def _number(self, record: dict[str, str]) -> int:
        if not any(record.values()):
            return NOBODY
        if record.get(EXECUTABLE) == OTHER:
            return OTHERS
        key = tuple(record.get(name, "") for name in (CGROUP, *PROCESS))
        return self._index.setdefault(key, len(self._index))

    def _grow(self) -> None:
        """Places for those that were not there."""
        new = list(self._index)[len(self.groups) :]
        if new:
            groups = [self._cgroups.setdefault(key[0], len(self._cgroups)) for key in new]
            self.groups = np.append(self.groups, np.array(groups, np.intp))
            self.amounts = np.concatenate([self.amounts, np.zeros((len(new), MEASURES))])
            self.named = np.append(self.named, np.zeros(len(new), np.bool_))
            self.fresh = np.append(self.fresh, np.ones(len(new), np.bool_))

    def forget(self, seen: Iterable[Positions]) -> Positions:
        """Forget owners that are not among ``seen``.

        Returns the new number of each old one, `FORGOTTEN` for those that are.
        """
        kept = np.zeros(len(self), np.bool_)
        for numbers in seen:
            kept[numbers[numbers >= 0]] = True
        keys = [key for key, keep in zip(self._index, kept.tolist(), strict=True) if keep]
        self._index = {key: number for number, key in enumerate(keys)}
        self._cgroups = {}
        self.groups = np.array([self._cgroups.setdefault(key[0], len(self._cgroups)) for key in keys], np.intp)
        self.amounts, self.named, self.fresh = self.amounts[kept], self.named[kept], self.fresh[kept]
        self._epoch += 1
        return np.where(kept, np.cumsum(kept) - 1, FORGOTTEN)


def present(column: Text) -> Mask:
    """Which rows have the attribute."""
    return np.array([bool(word) for word in column.words], np.bool_)[column.codes]


def distinct(columns: Iterable[Column], length: int) -> tuple[Positions, Positions]:
    """The position of one row of each kind, and the number of the kind of each row; alike in all ``columns``."""
    kinds = np.zeros(length, np.intp)
    first = np.zeros(min(1, length), np.intp)
    for column in columns:
        codes = column.codes if isinstance(column, Text) else np.unique(column, return_inverse=True)[1]
        combined = kinds * (int(codes.max(initial=0)) + 1) + codes
        _, first, kinds = np.unique(combined, return_index=True, return_inverse=True)
    return first, kinds
