# SPDX-License-Identifier: Apache-2.0
"""Points of exponential histograms: their bucket counts are varints, so no two points need have the same length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.buckets import ExponentialBuckets
from ebpf_sidecar.pipeline.frame import Frame

from .wire import FIXED64, VARINT, message, prefix, tag, varint

_ATTRIBUTES = 1
_FIXED = [tag(2, FIXED64), tag(3, FIXED64), tag(4, FIXED64), tag(5, FIXED64), tag(7, FIXED64)]
"""Start, time, count, sum and zero_count."""


def exponential_points(frame: Frame, attributes: Sequence[bytes]) -> tuple[NDArray[np.int64], memoryview]:
    """The frame's ``ExponentialHistogramDataPoint`` messages, and the position after each.

    ``attributes``: of each row, as field 1. Buckets above the highest bound must be empty.
    """
    buckets = frame.buckets
    assert isinstance(buckets, ExponentialBuckets)  # the caller asked
    same = tag(6, VARINT) + varint(_zigzag(buckets.scale)) + tag(14, FIXED64) + buckets.bounds[:1].tobytes()
    offset = tag(1, VARINT) + varint(_zigzag(buckets.offset))
    counts = packed(frame.values[:, 1:-1])
    points = [
        message(1, fixed, same, message(8, offset, prefix(2, len(each)), each) if each else b"", own)
        for fixed, each, own in zip(_fixed_parts(frame), counts, attributes, strict=True)
    ]
    return np.cumsum(np.fromiter(map(len, points), np.int64, len(points))), memoryview(b"".join(points))


def _fixed_parts(frame: Frame) -> list[bytes]:
    rows = np.zeros(
        len(frame),
        [(f"{part}{i}", kind) for i in range(len(_FIXED)) for part, kind in (("tag", "S1"), ("value", "<u8"))],
    )
    sums = np.asarray(frame.sums, "<f8").view("<u8")
    counts, zeros = frame.values.sum(axis=1, dtype=np.uint64), frame.values[:, 0]
    for i, values in enumerate((frame.start_time_unix_nano, frame.time_unix_nano, counts, sums, zeros)):
        rows[f"tag{i}"], rows[f"value{i}"] = _FIXED[i], values
    return [row.tobytes() for row in rows]


def packed(counts: NDArray[np.generic]) -> list[bytes]:
    """The numbers of each row as varints one after the other."""
    return [b"".join(map(varint, row)) for row in counts.tolist()]


def _zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1
