# SPDX-License-Identifier: Apache-2.0
"""The rows of one origin: ids for attribute sets, and the same `RowSet` object as long as the rows stay the same.

Points are recognized by their *description*: a serialized ``NumberDataPoint`` or ``HistogramDataPoint`` that has only
their attributes and flags. One is decoded when it is new; afterwards it is only compared.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.metrics.v1 import metrics_pb2

from ebpf_sidecar.pipeline.rows import RowSet

from .attribute_values import AttributeReader, Value, column
from .exponential_scale import Span
from .wire import HistogramPoint, NumberPoint, is_description

NO_VALUE, DUPLICATE = "no_recorded_value", "duplicate_attributes"
_NO_RECORDED_VALUE = metrics_pb2.DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_HISTOGRAM = b"\x4a"
_ROW_SETS = 4  # of a metric whose points come in parts, or whose rows change


class IrregularError(Exception):
    """A description has more in it than attributes and flags, so its point must be read field by field."""


@dataclass(slots=True)
class Row:
    """An attribute set. ``seen``: when a row set was last made with it."""

    id: int
    names: tuple[str, ...]
    values: tuple[Value, ...]
    seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Described:
    """What a description says. ``absent``: the number of attributes with empty values."""

    text: bytes
    row: Row
    absent: int
    no_value: bool


@dataclass(slots=True, weakref_slot=True, eq=False)
class DescribedRows:
    """The rows of points with these descriptions. ``kept``: the positions of the points that have one; None: all.
    ``used``: when there was last such a request.
    """

    descriptions: tuple[bytes, ...]
    rows: RowSet
    members: tuple[Row, ...]
    kept: NDArray[np.intp] | None
    absent: int
    dropped: Mapping[str, int]
    used: float = 0.0


@dataclass(slots=True)
class MetricState:
    """What is remembered about a metric. ``span``: its exponential buckets so far, if it is cumulative."""

    recent: deque[DescribedRows] = field(default_factory=lambda: deque(maxlen=_ROW_SETS))
    span: Span | None = None
    used: float = 0.0


class OriginRows:
    """Rows by attributes; ``ids`` gives those of new rows."""

    def __init__(self, ids: Iterator[int], attributes: AttributeReader) -> None:
        self.used = 0.0
        self._attributes = attributes
        self._ids = ids
        self._rows: dict[object, Row] = {}
        self._described: dict[bytes, Described] = {}
        self._metrics: dict[str, MetricState] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._row_sets: WeakValueDictionary[int, DescribedRows] = WeakValueDictionary()

    @property
    def size(self) -> int:
        """A measure of the memory that it takes."""
        return len(self._described) + len(self._rows) + len(self._metrics)

    def metric(self, name: str) -> MetricState:
        """The state of a metric, which is thereby in use."""
        state = self._metrics.setdefault(name, MetricState())
        state.used = self.used
        return state

    def find(self, metric: str, descriptions: Sequence[bytes], *, regular: bool) -> DescribedRows:
        """The rows of a metric's points.

        ``regular``: the descriptions are known to be what they should be, otherwise `IrregularError` is raised for
        those that are not. Raises `google.protobuf.message.DecodeError` for what is no message.
        """
        key = tuple(descriptions)
        digest = hash(key)
        found = self._row_sets.get(digest)
        if found is None or found.descriptions != key:
            found = self._row_sets[digest] = self._make([self._describe(each, regular=regular) for each in key])
        found.used = self.used
        recent = self.metric(metric).recent
        if not recent or recent[-1] is not found:
            if found in recent:
                recent.remove(found)
            recent.append(found)
        return found

    def _describe(self, text: bytes, *, regular: bool) -> Described:
        known = self._described.get(text)
        if known is not None:
            return known
        point = _parsed(text, regular=regular)
        if not regular and not is_description(text, point):
            raise IrregularError
        values, absent = self._attributes.read(point.attributes)
        made = Described(text, self._row(values), absent, bool(point.flags & _NO_RECORDED_VALUE))
        self._described[text] = made
        return made

    def _row(self, attributes: Mapping[str, Value]) -> Row:
        names = tuple(attributes)
        names, values = self._names.setdefault(names, names), tuple(attributes.values())
        # 1, 1.0 and True are the same key in Python
        key = (names, values) if {*map(type, values)} <= {str} else (names, values, tuple(map(type, values)))
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(next(self._ids), names, values)
        return row

    def _make(self, described: Sequence[Described]) -> DescribedRows:
        members: dict[int, Row] = {}
        kept: list[int] = []
        dropped: Counter[str] = Counter()
        for position, each in enumerate(described):
            if each.no_value or each.row.id in members:
                dropped[NO_VALUE if each.no_value else DUPLICATE] += 1
                continue
            each.row.seen = self.used
            members[each.row.id] = each.row
            kept.append(position)
        return DescribedRows(
            tuple(each.text for each in described),
            row_set(list(members.values())),
            tuple(members.values()),
            np.array(kept, np.intp) if dropped else None,
            sum(each.absent for each in described),
            dropped,
        )

    def forget_absent(self, before: float) -> None:
        """Forget metrics and rows that were last used before that time."""
        self._metrics = {name: state for name, state in self._metrics.items() if state.used >= before}
        for state in self._metrics.values():
            state.recent = deque((rows for rows in state.recent if rows.used >= before), _ROW_SETS)
            for rows in state.recent:
                for row in rows.members:
                    row.seen = max(row.seen, rows.used)
        self._rows = {key: row for key, row in self._rows.items() if row.seen >= before}
        self._described = {text: each for text, each in self._described.items() if each.row.seen >= before}
        self._names = {row.names: row.names for row in self._rows.values()}


def _parsed(text: bytes, *, regular: bool) -> Any:
    """The point of a description, which is of a histogram if it begins with a tag of its attributes."""
    try:
        return (HistogramPoint if text[:1] == _HISTOGRAM else NumberPoint).FromString(text)
    except DecodeError:
        if regular:
            raise
        raise IrregularError from None  # not where the attributes end


def row_set(rows: Sequence[Row]) -> RowSet:
    """The table of these rows."""
    names = dict.fromkeys(name for shape in dict.fromkeys(row.names for row in rows) for name in shape)
    if all(row.names is rows[0].names for row in rows):
        columns = dict(zip(names, map(column, zip(*(row.values for row in rows), strict=True)), strict=True))
    else:
        records = [dict(zip(row.names, row.values, strict=True)) for row in rows]
        columns = {name: column([record.get(name) for record in records]) for name in names}
    return RowSet(np.array([row.id for row in rows], np.uint64), columns)
