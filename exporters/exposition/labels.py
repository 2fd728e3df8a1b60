# SPDX-License-Identifier: Apache-2.0
"""Label text of every row of a row set, rendered once and kept while the row lives unchanged.

Finding unchanged rows takes array operations over all rows, and text operations over distinct words only: rows are
matched by their ids, then compared column by column through a table from new word codes to old ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.rows import Column, RowSet, Text

from .names import label_name
from .numbers import number_texts

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_SURROGATES = re.compile("[\ud800-\udfff]")


def escaped(value: str) -> str:
    """A label value as written between quotes; lone surrogates, which UTF-8 lacks, become U+FFFD."""
    text = value.translate(_ESCAPES)
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def label_block(labels: Mapping[str, str]) -> str:
    """The block of one set of labels, see `LabelTable`."""
    inner = ",".join(f'{name}="{escaped(value)}"' for name, value in sorted(labels.items()) if value)
    return f"{{{inner}}} " if inner else " "


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """The rendered labels of a row set.

    ``all_blocks``: for each row ``{a="b",c="d"} ``, or one space if it has no labels. ``blocks``: without duplicates,
    of which the last is kept, and ``selection`` their positions (None: there were no duplicates).
    """

    ids: NDArray[np.uint64]
    columns: Mapping[str, Column]
    all_blocks: list[str]
    blocks: list[str]
    selection: NDArray[np.intp] | None


@dataclass(frozen=True, slots=True)
class LabelWriter:
    """Converts attributes to labels. ``constants`` are on every row and override attributes with the same label."""

    constants: Mapping[str, str]
    short: bool = False

    def table(self, rows: RowSet, previous: LabelTable | None = None) -> LabelTable:
        """The labels of ``rows``; blocks in ``previous`` are reused for rows with the same attributes."""
        blocks = self._blocks(rows) if previous is None else self._updated(rows, previous)
        last = {block: position for position, block in enumerate(blocks)}
        if len(last) == len(blocks):
            return LabelTable(rows.ids, rows.columns, blocks, blocks, None)
        positions = np.array(sorted(last.values()), dtype=np.intp)
        return LabelTable(rows.ids, rows.columns, blocks, [blocks[p] for p in positions], positions)

    def _updated(self, rows: RowSet, previous: LabelTable) -> list[str]:
        here, there = unchanged_rows(rows, previous.ids, previous.columns)
        if not len(here):
            return self._blocks(rows)
        blocks = np.empty(len(rows), dtype=object)
        blocks[here] = np.array(previous.all_blocks, dtype=object)[there]
        fresh = np.ones(len(rows), dtype=np.bool_)
        fresh[here] = False
        if fresh.any():
            blocks[fresh] = self._blocks(rows.take(fresh))
        return list(blocks.tolist())

    def _blocks(self, rows: RowSet) -> list[str]:
        if not len(rows):
            return []
        columns = [self._fragments(label, names, rows) for label, names in sorted(self._sources(rows).items())]
        if not columns:
            return [" "] * len(rows)
        joined = map("".join, zip(*columns, strict=True))
        return [f"{{{text[:-1]}}} " if text else " " for text in joined]

    def _sources(self, rows: RowSet) -> dict[str, list[str]]:
        """Label → its attributes, none for a constant; several collide and are joined."""
        sources: dict[str, list[str]] = {}
        for attribute in sorted(rows.columns):
            sources.setdefault(label_name(attribute, short=self.short), []).append(attribute)
        return {**sources, **{label: [] for label in self.constants}}

    def _fragments(self, label: str, attributes: Sequence[str], rows: RowSet) -> list[str]:
        """``label="value",`` for each row, empty where the attribute is absent."""
        write = partial(_fragment, label)
        if not attributes:
            return [write(self.constants[label])] * len(rows)
        column = rows.columns[attributes[0]]
        if len(attributes) == 1 and isinstance(column, Text):
            words = np.empty(len(column.words), dtype=object)
            words[:] = [write(word) for word in column.words]
            return list(words[column.codes].tolist())
        texts = [_texts(rows.columns[attribute]) for attribute in attributes]
        # by the specification, values of colliding labels are joined with ";" in the order of the original names
        return [write(";".join(filter(None, values))) for values in zip(*texts, strict=True)]


def _fragment(label: str, value: str) -> str:
    return f'{label}="{escaped(value)}",' if value else ""


def _texts(column: Column) -> list[str]:
    if isinstance(column, Text):
        return column.strings()
    if isinstance(column, np.ma.MaskedArray):
        there = ~np.ma.getmaskarray(column)
        return [text if known else "" for text, known in zip(_texts(column.filled(0)), there.tolist(), strict=True)]
    if column.dtype.kind == "b":
        return ["true" if value else "false" for value in column.tolist()]
    return number_texts(column) if column.dtype.kind in "uif" else list(map(str, column.tolist()))


def unchanged_rows(
    rows: RowSet, old_ids: NDArray[np.uint64], old_columns: Mapping[str, Column]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions in ``rows`` and in the old table of rows with the same id and equal attributes."""
    nothing = np.empty(0, dtype=np.intp)
    if rows.columns.keys() != old_columns.keys():
        return nothing, nothing
    _, here, there = np.intersect1d(rows.ids, old_ids, return_indices=True)
    same = np.ones(len(here), dtype=np.bool_)
    for name, column in rows.columns.items():
        same &= _equal(column, here, old_columns[name], there)
    return here[same], there[same]


def _equal(new: Column, here: NDArray[np.intp], old: Column, there: NDArray[np.intp]) -> NDArray[Any]:
    if isinstance(new, Text) and isinstance(old, Text):
        if new.words is old.words:
            return np.equal(new.codes[here], old.codes[there])
        code_of = {word: code for code, word in enumerate(old.words)}
        old_code = np.array([code_of.get(word, -1) for word in new.words], dtype=np.int64)
        return np.equal(old_code[new.codes[here]], old.codes[there])
    if isinstance(new, Text) or isinstance(old, Text):
        return np.zeros(len(here), dtype=np.bool_)
    absent = np.ma.getmaskarray(new)[here], np.ma.getmaskarray(old)[there]
    same = np.ma.getdata(new)[here] == np.ma.getdata(old)[there]
    return np.asarray((absent[0] & absent[1]) | (same & ~absent[0] & ~absent[1]))
