# SPDX-License-Identifier: Apache-2.0
"""Fewer rows: those that differ only in attributes that nobody wants are added up.

Only for values that may be added: deltas, and amounts that are measured anew each time. Cumulative totals may not: the
sum would fall when a row leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Frame
from .rows import RowSet, Text, once_per_row_set, texts


@dataclass(frozen=True, slots=True, eq=False)
class Merging:
    """``rows``: what is left. ``order``: the old rows, those that become one next to each other. ``starts``: where each
    group begins in that order."""

    rows: RowSet
    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    def frame(self, frame: Frame) -> Frame:
        """The frame with its rows merged; its values must be such that they may be added."""
        if not len(frame) or len(self.rows) == len(frame):
            return frame.with_rows(self.rows)
        return replace(
            frame,
            rows=self.rows,
            values=self._sum(frame.values),
            sums=None if frame.sums is None else self._sum(frame.sums),
            start_time_unix_nano=np.minimum.reduceat(frame.start_times()[self.order], self.starts),
        )

    def merges(self) -> bool:
        """Whether there are fewer rows than before."""
        return len(self.rows) < len(self.order)

    def _sum(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.add.reduceat(values[self.order], self.starts, axis=0))


def merging_without(names: Collection[str]) -> Callable[[RowSet], Merging]:
    """How rows merge without the attributes ``names``; calculated once for each row set. Ids are new: a row has the
    lowest id of those that it stands for."""
    return once_per_row_set(lambda rows: _merging(rows, names))


def _merging(rows: RowSet, names: Collection[str]) -> Merging:
    left = rows.without(*names)
    if len(left.columns) == len(rows.columns) or not len(rows):
        return Merging(rows, np.arange(len(rows)), np.arange(len(rows)))
    codes = [_codes(texts(column)) for column in left.columns.values()]
    keys = np.stack(codes, axis=1) if codes else np.zeros((len(rows), 1), np.int32)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(rows):  # in their own order
        return Merging(left, np.arange(len(rows)), np.arange(len(rows)))
    order = np.argsort(group.reshape(-1), kind="stable")
    starts = np.searchsorted(group.reshape(-1)[order], np.arange(len(first)))
    merged = left.take(first)
    return Merging(RowSet(np.minimum.reduceat(rows.ids[order], starts), merged.columns), order, starts)


def _codes(column: Text) -> NDArray[np.int32]:
    """The same code for the same text: a column may have a word twice."""
    return Text.of(column.words).codes[column.codes]
