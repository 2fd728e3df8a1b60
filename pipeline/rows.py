# SPDX-License-Identifier: Apache-2.0
"""The rows that metrics describe: one table of attribute columns, shared by all metrics of a probe.

A receiver passes the *same* `RowSet` object again as long as the rows do not change, so whatever is derived from it
(enrichment, rendered labels) can be kept per object, see `once_per_row_set`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError

Numbers = NDArray[Any]
"""A column of numbers; a `numpy.ma.MaskedArray` if the attribute is absent in some (masked) rows."""
Selection = NDArray[np.bool_] | NDArray[np.intp]
OVERFLOW = "otel.metric.overflow"
"""The attribute that the OpenTelemetry specification defines for data beyond a cardinality limit."""


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of ``array``: writing into it raises at the writer's own line."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A column of text: ``words[codes[i]]`` is the text of row *i*; the empty word means "attribute absent"."""

    codes: NDArray[np.int32]
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", frozen(np.asarray(self.codes, dtype=np.int32)))

    @classmethod
    def of(cls, strings: Iterable[str]) -> Text:
        """The column holding ``strings``, each distinct word stored once, in order of first appearance."""
        seen: dict[str, int] = {}
        codes = [seen.setdefault(string, len(seen)) for string in strings]
        return cls(np.array(codes, dtype=np.int32), tuple(seen))

    @classmethod
    def constant(cls, word: str, length: int) -> Text:
        """The column that holds ``word`` in each of ``length`` rows."""
        return cls(np.zeros(length, dtype=np.int32), (word,))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, selection: Selection) -> Text:
        """The rows selected by a boolean mask or by positions. Words are shared, not copied; see `trimmed`."""
        return Text(self.codes[selection], self.words)

    def trimmed(self) -> Text:
        """The same text without unused words, so that passing on some rows does not reveal names in the others."""
        used = np.zeros(len(self.words), dtype=np.bool_)
        used[self.codes] = True
        if used.all():
            return self
        numbers = np.cumsum(used, dtype=np.int32) - np.int32(1)
        return Text(numbers[self.codes], tuple(compress(self.words, used.tolist())))

    def map(self, function: Callable[[str], str]) -> Text:
        """A column with ``function`` applied to each word: called once per distinct word, not once per row."""
        return Text(self.codes, tuple(function(word) for word in self.words))

    def strings(self) -> list[str]:
        """The text of every row."""
        return [self.words[code] for code in self.codes.tolist()]


Column = Text | Numbers


def texts(column: Column) -> Text:
    """A column as text, numbers in Python's notation."""
    if isinstance(column, Text):
        return column
    return Text.of("" if number is None else str(number) for number in column.tolist())


def joined(*columns: Numbers) -> Numbers:
    """Concatenated columns of numbers; absent values stay absent."""
    masked = any(isinstance(column, np.ma.MaskedArray) for column in columns)
    return np.ma.concatenate(columns) if masked else np.concatenate(columns)  # type: ignore[no-untyped-call] # NumPy's


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class RowSet:
    """Rows of attributes.

    ``ids``: uint64, one per row: the row's identity, stable from batch to batch and never reused for another row of
    the same receiver. ``columns``: attribute name → column with one entry per row; absent values are empty text or
    masked numbers.
    ``derived``: results that `once_per_row_set` stores here.
    Raises `FrameError` when lengths differ.
    """

    ids: NDArray[np.uint64]
    columns: Mapping[str, Column] = field(default_factory=dict)
    derived: MutableMapping[object, Any] = field(default_factory=WeakKeyDictionary, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", frozen(np.asarray(self.ids, dtype=np.uint64)))
        checked = {name: self._checked(name, column) for name, column in self.columns.items()}
        object.__setattr__(self, "columns", MappingProxyType(checked))

    def _checked(self, name: str, column: Column) -> Column:
        if len(column) != len(self.ids):
            raise FrameError(f'column "{name}" has {len(column)} entries for {len(self.ids)} rows; give one per row')
        return column if isinstance(column, Text) else frozen(np.asanyarray(column))

    @classmethod
    def of(cls, records: Sequence[Mapping[str, str | int | float]], first_id: int = 0) -> RowSet:
        """A row set from plain records (for tests and small receivers): text or number columns by the values' types."""
        names = dict.fromkeys(name for record in records for name in record)
        columns = {name: _column([record.get(name, "") for record in records]) for name in names}
        return cls(np.arange(first_id, first_id + len(records), dtype=np.uint64), columns)

    def __len__(self) -> int:
        return len(self.ids)

    def with_columns(self, **columns: Column) -> RowSet:
        """The same rows with columns added or replaced (dots in attribute names: pass ``**{"container.id": …}``)."""
        return RowSet(self.ids, {**self.columns, **columns})

    def without(self, *names: str) -> RowSet:
        """The same rows without the named columns."""
        return RowSet(self.ids, {name: column for name, column in self.columns.items() if name not in names})

    def take(self, selection: Selection) -> RowSet:
        """The rows selected by a boolean mask or by positions."""
        columns = {n: c.take(selection) if isinstance(c, Text) else c[selection] for n, c in self.columns.items()}
        return RowSet(self.ids[selection], columns)

    def records(self) -> list[dict[str, Any]]:
        """Every row as a dictionary, absent attributes left out."""
        lists = {n: c.strings() if isinstance(c, Text) else c.tolist() for n, c in self.columns.items()}
        return [{n: values[i] for n, values in lists.items() if values[i] not in ("", None)} for i in range(len(self))]


def _column(values: Sequence[str | int | float]) -> Column:
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) == len(values):
        return np.array(values)
    absent = [value == "" for value in values]
    if not numbers or len(numbers) + sum(absent) < len(values):
        return Text.of(str(value) for value in values)
    return np.ma.MaskedArray([value or 0 for value in values], absent)


Result = TypeVar("Result")


class _Lookup:
    """The key of one function of `once_per_row_set` in the row sets that store its results."""

    __slots__ = ("__weakref__",)


class _Same:
    """Stands for the row set itself: a self-reference would have to wait for the garbage collector."""


def once_per_row_set(
    function: Callable[[RowSet], Result], version: Callable[[], object] = lambda: None
) -> Callable[[RowSet], Result]:
    """``function``, called once for each `RowSet` object; its result is kept as long as the object lives.

    ``version``: when it returns a new value, ``function`` is called again, because descriptions may improve while the
    rows stay the same. The result may be the row set itself, or refer to it.
    """
    # Results are stored in the row set, not in a table here: a result that refers to its row set would keep itself
    # alive in any table, even one with weak keys. In the row set the two form a cycle that the collector frees.
    lookup = _Lookup()

    def answer(rows: RowSet) -> Result:
        now = version()
        kept = rows.derived.get(lookup)
        if kept is None or kept[0] != now:
            made = function(rows)
            kept = rows.derived[lookup] = (now, _Same if made is rows else made)
        return rows if kept[1] is _Same else kept[1]  # type: ignore[return-value] # a Result, see above

    return answer
