# SPDX-License-Identifier: Apache-2.0
"""The data points of a frame, and the kind of metric they belong to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.buckets import ExponentialBuckets
from ebpf_sidecar.pipeline.frame import Frame, Kind, Temporality

from .point_template import PointTemplate, Words, as_words
from .wire import FIXED64, VARINT, message, tag, varint

GAUGE, SUM, HISTOGRAM, EXPONENTIAL = 5, 7, 9, 10
"""Fields of a ``Metric``."""
_TEMPORALITIES = {Temporality.UNSPECIFIED: 0, Temporality.DELTA: 1, Temporality.CUMULATIVE: 2}
_HOLE = bytes(8)
_TIMES = tag(2, FIXED64) + _HOLE + tag(3, FIXED64) + _HOLE
_START_AT, _TIME_AT, _NEXT_AT = 1, 10, 18
_MOST_SIGNED = 2**63 - 1
Templates = Callable[[int, bytes], PointTemplate]
"""The template of a row set, by the field that holds a point's attributes and the point's fixed part."""


def metric_field(frame: Frame) -> int:
    """The field of a ``Metric`` that has the frame's points."""
    if frame.kind is Kind.HISTOGRAM:
        return EXPONENTIAL if is_exponential(frame) else HISTOGRAM
    return GAUGE if frame.kind is Kind.GAUGE else SUM


def is_exponential(frame: Frame) -> bool:
    """Whether the frame is an exponential histogram in OTLP, which has no bucket above all bounds."""
    return isinstance(frame.buckets, ExponentialBuckets) and not frame.values[:, -1].any()


def metric_properties(frame: Frame) -> bytes:
    """What ``Sum`` and the histograms say besides their points: temporality, and whether a sum is monotonic."""
    if frame.kind is Kind.GAUGE:
        return b""
    said = tag(2, VARINT) + varint(_TEMPORALITIES[frame.temporality])
    return said + tag(3, VARINT) + b"\x01" if frame.kind is Kind.COUNTER else said


def number_points(frame: Frame, templates: Templates) -> tuple[PointTemplate, memoryview]:
    """The frame's ``NumberDataPoint`` messages."""
    values = _numbers(frame.values)
    value_field = 4 if values.dtype.kind == "f" else 6  # as_double, as_int
    template = templates(7, _TIMES + tag(value_field, FIXED64) + _HOLE)
    return template, template.filled([*_times(frame), (_NEXT_AT + 1, as_words(values))])


def histogram_points(frame: Frame, templates: Templates) -> tuple[PointTemplate, memoryview]:
    """The frame's ``HistogramDataPoint`` messages."""
    assert frame.bounds is not None  # as of every histogram
    assert frame.sums is not None
    buckets = frame.values.astype("<u8")
    counts = message(6, bytes(8 * buckets.shape[1]))
    before = _TIMES + tag(4, FIXED64) + _HOLE + tag(5, FIXED64) + _HOLE
    template = templates(9, before + counts + message(7, frame.bounds.astype("<f8").tobytes()))
    first = len(before) + len(counts) - 8 * buckets.shape[1]
    numbers = [(_NEXT_AT + 1, buckets.sum(axis=1, dtype=np.uint64)), (_NEXT_AT + 10, as_words(frame.sums))]
    return template, template.filled([*_times(frame), *numbers, (first, buckets)])


def _times(frame: Frame) -> list[tuple[int, Words]]:
    start = np.asarray(frame.start_time_unix_nano, np.uint64)
    return [(_START_AT, start), (_TIME_AT, np.asarray(frame.time_unix_nano, np.uint64))]


def _numbers(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Integers, or floats where an integer is beyond what OTLP can hold."""
    if values.dtype.kind == "u" and len(values) and int(values.max()) > _MOST_SIGNED:
        return values.astype(np.float64)
    return values
