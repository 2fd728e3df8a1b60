# SPDX-License-Identifier: Apache-2.0
"""Histogram points that are all laid out like the first one, with the same bounds, read at once.

As with numbers, encoders write fields in the order of their numbers: times, count, sum, counts and bounds come first,
at the same positions in all points, then the attributes. After these may come flags, minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.buckets import ExplicitBuckets

from .histogram_group import HistogramGroup
from .number_points import MOST_TIME
from .wire import HistogramPoint, varint

Block = NDArray[np.uint8]
_TIMES_AND_COUNT, _SUM, _NEXT = (b"\x11", b"\x19", b"\x21"), b"\x29", b"\x4a"  # tags: number << 3 | wire type
_MIN, _MAX = 0x59, 0x61
_EXTREMES = 18  # bytes of minimum and maximum


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the numbers of a point are. ``sums``: None if points have none; ``size`` includes the first attribute's
    tag; ``extremes``: whether points end with minimum and maximum."""

    counts: slice
    sums: slice | None
    buckets: slice
    size: int
    extremes: bool
    bounds: tuple[float, ...]

    @classmethod
    def of(cls, body: bytes) -> _Layout | None:
        """The layout of a point, unless it is an unusual one. Raises `DecodeError`."""
        point = HistogramPoint.FromString(body)
        bounds, buckets = len(point.explicit_bounds), len(point.bucket_counts)
        has_sum, extremes = body[27:28] == _SUM, point.HasField("min") and point.HasField("max")
        numbers, edges = b"\x32" + varint(8 * buckets), b"\x3a" + varint(8 * bounds)
        first = (36 if has_sum else 27) + len(numbers)
        second = first + 8 * buckets + len(edges)
        size = second + 8 * bounds + 1
        ends = body[first - len(numbers) : first], body[second - len(edges) : second], body[size - 1 : size]
        if not bounds or (body[0:1], body[9:10], body[18:19]) != _TIMES_AND_COUNT or ends != (numbers, edges, _NEXT):
            return None
        parts = slice(28, 36) if has_sum else None, slice(first, first + 8 * buckets)
        return cls(slice(19, 27), *parts, size, extremes, tuple(point.explicit_bounds))

    def fixed(self) -> NDArray[np.bool_]:
        """Which bytes are the same in all points: tags, lengths and bounds."""
        fixed = np.ones(self.size, np.bool_)
        for part in (slice(1, 9), slice(10, 18), self.counts, self.sums, self.buckets):
            if part is not None:
                fixed[part] = False
        return fixed

    def descriptions(self, points: Sequence[bytes]) -> list[bytes] | None:
        """What follows the numbers, without minimum and maximum; None if one has no such end."""
        begin = self.size - 1
        if not self.extremes:
            return [point[begin:] for point in points]
        if min(map(len, points)) <= begin + _EXTREMES:
            return None
        marks = {(point[-_EXTREMES], point[-_EXTREMES // 2]) for point in points}
        return [point[begin:-_EXTREMES] for point in points] if marks == {(_MIN, _MAX)} else None


def regular_groups(points: Sequence[bytes]) -> list[HistogramGroup] | None:
    """The groups, earlier times first, or None if the points must be read one by one: also if one cannot be
    represented. Raises `google.protobuf.message.DecodeError`.
    """
    layout = _Layout.of(points[0])
    if layout is None or not _ascend(layout.bounds):
        return None
    joined = b"".join([point[: layout.size] for point in points])
    if len(joined) != layout.size * len(points):
        return None
    block, fixed = np.frombuffer(joined, np.uint8).reshape(len(points), layout.size), layout.fixed()
    descriptions = layout.descriptions(points)
    if descriptions is None or not (block[:, fixed] == block[0, fixed]).all():
        return None
    return _groups(block, layout, descriptions)


def _ascend(bounds: tuple[float, ...]) -> bool:
    array = np.array(bounds)
    return bool((array[1:] > array[:-1]).all() and not np.isnan(array).any())


def _groups(block: Block, layout: _Layout, descriptions: Sequence[bytes]) -> list[HistogramGroup] | None:
    starts, times = _numbers(block, slice(1, 9))[:, 0], _numbers(block, slice(10, 18))[:, 0]
    counts, total = _numbers(block, layout.buckets), _numbers(block, layout.counts)[:, 0]
    if counts.shape[1] != len(layout.bounds) + 1 or not (counts.sum(axis=1) == total).all():
        return None
    if max(starts.max(), times.max()) > MOST_TIME:
        return None
    missing = np.full(len(block), np.nan)
    sums = missing if layout.sums is None else _numbers(block, layout.sums).view(np.float64)[:, 0]
    buckets = ExplicitBuckets(np.array(layout.bounds))
    groups = []
    for time in np.unique(times):
        here = times == time
        chosen = descriptions if here.all() else list(compress(descriptions, here.tolist()))
        groups.append(HistogramGroup(int(time), starts[here], counts[here], sums[here], buckets, chosen, regular=False))
    return groups


def _numbers(block: Block, part: slice) -> NDArray[Any]:
    """A part of each point as uint64."""
    return np.ascontiguousarray(block[:, part]).view("<u8")
