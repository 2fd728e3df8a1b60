# SPDX-License-Identifier: Apache-2.0
"""Makes frames from running totals, as the probe's YAML describes each metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.buckets import Buckets, ExplicitBuckets, ExponentialBuckets
from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.metric_info import MetricInfo
from ebpf_sidecar.pipeline.rows import RowSet, Text, once_per_row_set
from ebpf_sidecar.receivers.ebpf.maps.layout import Keys
from ebpf_sidecar.receivers.ebpf.maps.map_totals import View
from ebpf_sidecar.receivers.ebpf.maps.row_totals import Group, Snapshot
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute, Distinct, Metric, Slots, Spread, Sum, field_and_element

from .decoders import Decode, Decoders

Columns = Mapping[str, slice]
"""The columns of a map's value by field name; an array takes several."""


def view_of(attributes: Sequence[Attribute], attribution: Attribution, decoders: Decoders) -> View:
    """The view whose rows are grouped by owner and ``attributes``."""
    decoded: list[tuple[str, Decode]] = [(attribute.field, decoders.of(attribute)) for attribute in attributes]

    def groups(keys: Keys) -> list[Group | None]:
        words = [_decoded(keys, field, decode) for field, decode in decoded]
        return [_group(parts) for parts in zip(attribution.owners(keys), *words, strict=True)]

    return View((*attribution.attributes, *(attribute.name for attribute in attributes)), groups, attribution.version)


def _decoded(keys: Keys, field: str, decode: Decode) -> list[str | None]:
    values = keys[field].tolist()
    words = {value: decode(value) for value in set(values)}
    return [words[value] for value in values]


def _group(parts: tuple[Any, ...]) -> Group | None:
    owner, *words = parts
    return None if owner is None or None in words else (*owner, *words)


def positions(columns: Columns, name: str) -> list[int]:
    """The columns that ``name`` means: a field, or one element of an array (``adds[2]``)."""
    field, element = field_and_element(name)
    if element is not None:
        return [columns[field].start + element]
    return list(range(columns[name].start, columns[name].stop))


@dataclass(frozen=True, slots=True)
class ReadingTime:
    """When a reading was taken, and its resource."""

    time_unix_nano: int
    resource: Mapping[str, str]


def gauge_frame(reading_time: ReadingTime, info: MetricInfo, points: tuple[RowSet, Sequence[float]]) -> Frame:
    """The frame of a gauge. ``points``: rows and their values."""
    rows, values = points
    return _frame(reading_time, info, rows, np.array(values, np.float64), start=0)


def counter_frame(
    reading_time: ReadingTime, info: MetricInfo, points: tuple[RowSet, NDArray[Any]], start: int
) -> Frame:
    """The frame of a counter that counts since ``start`` (ns since the epoch). ``points``: rows and their values."""
    return _frame(reading_time, info, *points, start)


def _frame(reading_time: ReadingTime, info: MetricInfo, rows: RowSet, values: NDArray[Any], start: int) -> Frame:
    time, resource = reading_time.time_unix_nano, reading_time.resource
    return Frame(info.name, info.kind, rows, values, time, start, info.unit, info.description, resource=resource)


ToFrame = Callable[[Snapshot, ReadingTime], Frame]


def frame_maker(metric: Metric, columns: Columns) -> ToFrame:
    """How the metric's frame is made from a snapshot of its view."""
    if isinstance(metric.value, Spread):
        return _spread(metric, metric.value, columns)
    if isinstance(metric.value, Slots):
        return _histogram(metric, metric.value, columns)
    if isinstance(metric.value, Distinct):
        return _distinct(metric)
    return _sum(metric, metric.value, columns)


def _counter(
    metric: Metric, snapshot: Snapshot, rows: RowSet, values: NDArray[np.uint64], reading_time: ReadingTime
) -> Frame:
    return Frame(
        metric.name,
        Kind(metric.kind),
        rows,
        values,
        reading_time.time_unix_nano,
        start_time_unix_nano=_starts(snapshot, len(values)),
        unit=metric.unit,
        description=metric.description,
        resource=reading_time.resource,
    )


def _starts(snapshot: Snapshot, rows: int) -> NDArray[np.uint64]:
    """The start time of each row, also where a row occurs several times."""
    starts = snapshot.starts
    return np.repeat(starts, rows // len(starts)) if len(starts) else starts


def _sum(metric: Metric, value: Sum, columns: Columns) -> ToFrame:
    added = [position for name in value.columns for position in positions(columns, name)]
    taken = [position for name in value.minus for position in positions(columns, name)]

    def make(snapshot: Snapshot, reading_time: ReadingTime) -> Frame:
        values = snapshot.totals[:, added].sum(axis=1, dtype=np.uint64)
        if taken:
            values -= np.minimum(values, snapshot.totals[:, taken].sum(axis=1, dtype=np.uint64))
        return _counter(metric, snapshot, snapshot.rows, values, reading_time)

    return make


def _distinct(metric: Metric) -> ToFrame:
    def make(snapshot: Snapshot, reading_time: ReadingTime) -> Frame:
        return Frame(
            metric.name,
            Kind.GAUGE,
            snapshot.rows,
            snapshot.distinct.astype(np.float64),
            reading_time.time_unix_nano,
            unit=metric.unit,
            description=metric.description,
            resource=reading_time.resource,
        )

    return make


def _spread(metric: Metric, value: Spread, columns: Columns) -> ToFrame:
    spread = positions(columns, value.field)[: len(value.values)]

    @once_per_row_set
    def rows_of(rows: RowSet) -> RowSet:
        return spread_rows(rows, value.attribute, value.values)

    def make(snapshot: Snapshot, reading_time: ReadingTime) -> Frame:
        return _counter(metric, snapshot, rows_of(snapshot.rows), snapshot.totals[:, spread].reshape(-1), reading_time)

    return make


def spread_rows(rows: RowSet, attribute: str, words: Sequence[str]) -> RowSet:
    """Repeat each row for each of ``words``, which distinguish the copies."""
    copies = len(words)
    repeated = rows.take(np.repeat(np.arange(len(rows)), copies))
    ids = np.repeat(rows.ids * np.uint64(copies), copies) + np.tile(np.arange(copies, dtype=np.uint64), len(rows))
    column = Text(np.tile(np.arange(copies, dtype=np.int32), len(rows)), tuple(words))
    return RowSet(ids, {**repeated.columns, attribute: column})


def _histogram(metric: Metric, value: Slots, columns: Columns) -> ToFrame:
    slots, [total] = positions(columns, value.slots), positions(columns, value.sum)
    buckets = buckets_of(value, len(slots))

    def make(snapshot: Snapshot, reading_time: ReadingTime) -> Frame:
        return Frame(
            metric.name,
            Kind.HISTOGRAM,
            snapshot.rows,
            snapshot.totals[:, slots],
            reading_time.time_unix_nano,
            start_time_unix_nano=snapshot.starts,
            unit=metric.unit,
            description=metric.description,
            buckets=buckets,
            sums=snapshot.totals[:, total].astype(np.float64) * value.scale,
            resource=reading_time.resource,
        )

    return make


def buckets_of(value: Slots, slots: int) -> Buckets:
    """The buckets of ``slots`` slots. Powers of two of the unit are exponential buckets, exactly; powers of two of
    nanoseconds are none of a second."""
    scale, lowest = value.scale, value.lowest_exponent
    advised = scale * 2.0 ** np.array(value.default_exponents, np.float64) if value.default_exponents else None
    if scale == 1:
        return ExponentialBuckets(0, lowest, slots - 2, advised)
    return ExplicitBuckets(scale * 2.0 ** (lowest + np.arange(slots - 1, dtype=np.float64)), advised)
