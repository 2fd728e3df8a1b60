# SPDX-License-Identifier: Apache-2.0
"""The attributes of rows as bytes, each distinct value encoded once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from ebpf_sidecar.pipeline.rows import Column, RowSet, Text

from .wire import attribute


def encoded_rows(rows: RowSet, number: int, without: Collection[str] = ()) -> list[bytes]:
    """The ``KeyValue`` messages of each row, as field ``number`` of the point; absent attributes are left out.

    ``without``: columns that are not attributes of points.
    """
    columns = [_encoded(name, column, number) for name, column in rows.columns.items() if name not in without]
    if not columns:
        return [b""] * len(rows)
    return list(map(b"".join, zip(*columns, strict=True)))


def row_values(rows: RowSet, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """The values of the columns ``names`` in each row, without absent ones."""
    chosen = {name: rows.columns[name] for name in names if name in rows.columns}
    lists = [column.strings() if isinstance(column, Text) else column.tolist() for column in chosen.values()]
    if not lists:
        yield from ({} for _ in range(len(rows)))
    for values in zip(*lists, strict=True):
        yield {name: value for name, value in zip(chosen, values, strict=True) if value not in ("", None)}


def _encoded(name: str, column: Column, number: int) -> list[bytes]:
    if isinstance(column, Text):
        words = [attribute(number, name, word) if word else b"" for word in column.words]
        return [words[code] for code in column.codes.tolist()]
    distinct, codes = np.unique(np.ma.getdata(column), return_inverse=True)
    numbers = [attribute(number, name, value) for value in distinct.tolist()]
    absent = np.ma.getmaskarray(column).tolist()
    return [b"" if gone else numbers[code] for code, gone in zip(codes.tolist(), absent, strict=True)]
