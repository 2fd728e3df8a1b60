# SPDX-License-Identifier: Apache-2.0
"""What OAP needs of a frame: names that a rule can name, milliseconds, few and finite points."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ebpf_sidecar.pipeline.bucket_merging import merged
from ebpf_sidecar.pipeline.buckets import ExplicitBuckets
from ebpf_sidecar.pipeline.deltas import without_empty
from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.payload import LeftOut
from ebpf_sidecar.pipeline.row_merging import merging_without
from ebpf_sidecar.pipeline.rows import Column, RowSet, once_per_row_set

from .identity import RESOURCE, Identity
from .settings import OapSettings, point_attributes

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*")
_SHARES = ("%", "1")
_RESERVED = ("le", "quantile")
_ENOUGH_SECONDS = 30.0
_MILLISECONDS = 1e3


@dataclass
class Shaping:
    """Shapes deltas and gauges for OAP."""

    settings: OapSettings

    def __post_init__(self) -> None:
        self._described = once_per_row_set(Identity(self.settings, self.settings.pod()).described)
        self._merging = merging_without(point_attributes(self.settings))
        self._renamed = once_per_row_set(_without_dots)

    def frames(self, frame: Frame) -> Iterator[Frame | LeftOut]:
        """The frame as OAP should get it, if it could do something with it, and what is left out of it."""
        if reason := _unusable(frame):
            yield LeftOut(len(frame), reason, lost=True)
            return
        described = frame.with_rows(self._described(frame.rows))
        merging = self._merging(described.rows)
        if merging.merges() and frame.kind is Kind.GAUGE and frame.unit in _SHARES:
            # the whole's share is made of its counters, in OAP's queries
            yield LeftOut(len(frame), "share_of_a_part", lost=False)
            return
        yield from self._useful(merging.frame(described), len(frame))

    def _useful(self, summed: Frame, points: int) -> Iterator[Frame | LeftOut]:
        """Without numbers that OAP cannot store, and without histograms that observed nothing: their percentiles would
        be the lowest bound."""
        finite = _finite(summed)
        kept = without_empty(finite)
        yield LeftOut(points - len(summed), "merged", lost=False)
        yield LeftOut(len(summed) - len(finite), "not_finite", lost=True)
        yield LeftOut(len(finite) - len(kept), "empty", lost=False)
        yield _milliseconds(kept.with_rows(self._renamed(kept.rows)))


def _unusable(frame: Frame) -> str:
    """Why OAP would refuse the frame, or count it wrong; empty if it would not."""
    if not _NAME.fullmatch(frame.name):
        return "name_not_allowed"
    return "no_time" if frame.time_unix_nano <= 0 else ""


def _finite(frame: Frame) -> Frame:
    """Without NaN, which OAP ignores, and infinite values, which it stores as the largest number there is."""
    if frame.values.dtype.kind != "f":
        return frame
    finite = np.isfinite(frame.values)
    return frame if finite.all() else frame.take(finite)


def label_name(attribute: str) -> str:
    """An attribute's name as rules can name it."""
    allowed = re.sub(r"[^A-Za-z0-9_]", "_", attribute)
    return f"{allowed}_" if allowed in _RESERVED else allowed


def _without_dots(rows: RowSet) -> RowSet:
    """Attributes that a rule can name; up to 10.3 OAP keeps dots in those of points. The first of two alike is kept."""
    columns: dict[str, Column] = {}
    for name, column in rows.columns.items():
        columns.setdefault(name if name in RESOURCE else label_name(name), column)
    return RowSet(rows.ids, columns)


def _milliseconds(frame: Frame) -> Frame:
    """A histogram with about ten explicit buckets: of durations, in milliseconds up to at least 30 s."""
    if frame.buckets is None or frame.sums is None:
        return frame
    bounds = frame.buckets.bounds
    if frame.buckets.advised is not None:
        frame = merged(frame, np.append(frame.buckets.advised, bounds[-1:]))
        bounds = frame.buckets.bounds if frame.buckets else bounds
    if frame.unit != "s":
        return replace(frame, buckets=ExplicitBuckets(bounds))
    if bounds[-1:] < _ENOUGH_SECONDS:
        frame, bounds = _with_bound(frame, _ENOUGH_SECONDS), np.append(bounds, _ENOUGH_SECONDS)
    sums = np.asarray(frame.sums) * _MILLISECONDS
    return replace(frame, unit="ms", buckets=ExplicitBuckets(bounds * _MILLISECONDS), sums=sums)


def _with_bound(frame: Frame, bound: float) -> Frame:
    """What lies above the highest bound counts below a further one: in OAP, a percentile above all is 2 ** 63 - 1."""
    assert frame.buckets is not None  # the caller looked
    values = np.concatenate([frame.values, np.zeros((len(frame), 1), frame.values.dtype)], axis=1)
    return replace(frame, values=values, buckets=ExplicitBuckets(np.append(frame.buckets.bounds, bound)))
