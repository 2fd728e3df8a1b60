# SPDX-License-Identifier: Apache-2.0
"""The points of exponential histograms, in groups with the same time, all of a group at one scale.

Points of a metric may differ in scale and offset. A frame has one of each, so buckets are merged until all points fit;
their counts stay exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.buckets import MIN_SCALE, ExponentialBuckets

from .exponential_scale import Span, bound, first_bound_from
from .histogram_group import MALFORMED, HistogramGroup, Losses, group_of, point_problem
from .wire import ExponentialPoint

NEGATIVE = "negative_observations"
_LEAST_SCALE, _MOST_THRESHOLD = MIN_SCALE + 1, 2.0**512
"""At this scale there are bounds at 2 ** -512, 1 and 2 ** 512, and below it only one."""


@dataclass(frozen=True, slots=True)
class _Point:
    """A point, and where its counts above zero begin and end; ``span`` is None if it has none."""

    message: Any
    span: Span | None
    counts: NDArray[np.uint64]


def exponential_groups(points: Iterable[bytes], losses: Losses, earlier: Span | None) -> Iterator[HistogramGroup]:
    """The groups, earlier times first. Raises `google.protobuf.message.DecodeError`.

    ``earlier``: buckets that the metric had before; those of cumulative points only grow, so that it keeps them.
    """
    groups: dict[int, list[_Point]] = {}
    for body in points:
        message = ExponentialPoint.FromString(body)
        losses.exemplars += len(message.exemplars)
        if problem := _problem(message):
            losses.dropped[problem] += 1
        else:
            groups.setdefault(message.time_unix_nano, []).append(_trimmed(message))
    for time, alike in sorted(groups.items()):
        yield _group(alike, time, earlier)


def span_of(group: HistogramGroup) -> Span | None:
    """The buckets of a group, if it has any, to pass as ``earlier`` the next time."""
    buckets = group.buckets
    if not isinstance(buckets, ExponentialBuckets) or not buckets.size:
        return None
    return Span(buckets.scale, buckets.offset, buckets.offset + buckets.size - 1)


def _problem(message: Any) -> str:
    """Why the point cannot be represented, or nothing."""
    if problem := point_problem(message):
        return problem
    if message.HasField("negative") and any(message.negative.bucket_counts):
        return NEGATIVE
    fits = message.zero_count + sum(list(message.positive.bucket_counts)) == message.count
    possible = message.scale >= _LEAST_SCALE and 0 <= message.zero_threshold <= _MOST_THRESHOLD
    return "" if fits and possible else MALFORMED


def _trimmed(message: Any) -> _Point:
    counts = np.array(list(message.positive.bucket_counts), np.uint64)
    used = np.flatnonzero(counts)
    if not len(used):
        return _Point(message, None, counts[:0])
    first, last = int(used[0]), int(used[-1])
    offset = message.positive.offset
    return _Point(message, Span(message.scale, offset + first, offset + last), counts[first : last + 1])


def _group(points: Sequence[_Point], time: int, earlier: Span | None) -> HistogramGroup:
    spans = [point.span for point in points if point.span] + ([earlier] if earlier else [])
    span = Span.around(spans).fitted(len(points)) if spans else Span(0, 0, -1)
    span = _above(max(point.message.zero_threshold for point in points), span)
    buckets = ExponentialBuckets(span.scale, span.first, span.last - span.first + 1)
    counts = np.zeros((len(points), buckets.size + 2), np.uint64)
    for row, point in zip(counts, points, strict=True):
        _add(row, point, span)
    return group_of([point.message for point in points], time, counts, buckets)


def _above(threshold: float, span: Span) -> Span:
    """The span without buckets below the zero threshold: the first column of a frame holds them and the zeros."""
    if not threshold or threshold <= bound(span.first, span.scale):
        return span
    first = first_bound_from(threshold, span.scale)
    return Span(span.scale, first, max(span.last, first - 1))


def _add(row: NDArray[np.uint64], point: _Point, span: Span) -> None:
    row[0] = point.message.zero_count
    if point.span is None:
        return
    first = point.span.first - span.first + 1
    if point.span.scale == span.scale and first > 0 and first + len(point.counts) < len(row):
        row[first : first + len(point.counts)] = point.counts
        return
    steps = np.arange(len(point.counts)) + point.span.first
    columns = np.clip((steps >> (point.span.scale - span.scale)) - span.first + 1, 0, len(row) - 1)
    np.add.at(row, columns, point.counts)
