# SPDX-License-Identifier: Apache-2.0
"""Matches the rows of two row sets by their attributes, in columns."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from .rows import Column, Numbers, RowSet, Text, texts

_MAX_KEY = 2**62


def matching_positions(rows: RowSet, within: RowSet, ignoring: Collection[str] = ()) -> NDArray[np.intp]:
    """For each row of ``rows``, the position of the row with equal attributes in ``within``; -1 if there is none.

    ``ignoring``: attributes that are not compared. An absent attribute equals the empty text. If several rows of
    ``within`` are equal, the first is used.
    """
    if rows is within and not ignoring:
        return np.arange(len(rows))
    keys = _keys(rows, within, [n for n in {**rows.columns, **within.columns} if n not in ignoring])
    left, right = keys[: len(rows)], keys[len(rows) :]
    if not len(right):
        return np.full(len(left), -1)
    order = np.argsort(right, kind="stable")
    place = np.minimum(np.searchsorted(right[order], left), len(right) - 1)
    found = order[place]
    return np.where(right[found] == left, found, -1)


def _keys(rows: RowSet, within: RowSet, names: Collection[str]) -> NDArray[np.int64]:
    """One number per row of both sets together; equal numbers mean equal attributes."""
    keys, size = np.zeros(len(rows) + len(within), np.int64), 1
    for name in names:
        codes, count = _codes(_column(rows, name), _column(within, name))
        if size * count > _MAX_KEY:
            distinct, keys = np.unique(keys, return_inverse=True)
            size = len(distinct)
        keys, size = keys * count + codes, size * count
    return keys


def _column(rows: RowSet, name: str) -> Column:
    return rows.columns.get(name, Text.constant("", len(rows)))


def _codes(left: Column, right: Column) -> tuple[NDArray[np.int64], int]:
    """A code per entry of both columns, equal for equal entries, and the number of possible codes."""
    if _all_there(left) and _all_there(right):
        distinct, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
        return codes.astype(np.int64), max(1, len(distinct))
    code: dict[str, int] = {}
    parts = [_recoded(texts(column), code) for column in (left, right)]
    return np.concatenate(parts), max(1, len(code))


def _recoded(column: Text, code: dict[str, int]) -> NDArray[np.int64]:
    words = np.array([code.setdefault(word, len(code)) for word in column.words], np.int64)
    return words[column.codes] if len(column) else np.zeros(0, np.int64)


def _all_there(column: Column) -> TypeGuard[Numbers]:
    """Whether the column is numeric without absent values."""
    return not isinstance(column, (Text, np.ma.MaskedArray))
