# SPDX-License-Identifier: Apache-2.0
"""Histogram points that fit into one frame: they have the same time and the same buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags

from ebpf_sidecar.pipeline.buckets import Buckets

from .number_points import MOST_TIME, TIME
from .origin_rows import NO_VALUE
from .wire import description

MALFORMED = "malformed_histogram"
_NO_RECORDED_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


@dataclass(slots=True)
class Losses:
    """What is left out while points are read: points by reason, and exemplars."""

    dropped: Counter[str] = field(default_factory=Counter)
    exemplars: int = 0

    def add(self, other: Losses) -> None:
        """What was left out of other points as well."""
        self.dropped += other.dropped
        self.exemplars += other.exemplars


@dataclass(frozen=True, slots=True)
class HistogramGroup:
    """Columns with one entry per point; ``counts`` as `Frame.values`. ``regular``: see `OriginRows.find`."""

    time: int
    starts: NDArray[np.uint64]
    counts: NDArray[np.uint64]
    sums: NDArray[np.float64]
    buckets: Buckets
    descriptions: Sequence[bytes]
    regular: bool = True


def group_of(points: Sequence[Any], time: int, counts: NDArray[np.uint64], buckets: Buckets) -> HistogramGroup:
    """The group of these points (``HistogramDataPoint`` or ``ExponentialHistogramDataPoint``).

    A sum that is missing, as it is where observations can be negative, is NaN.
    """
    return HistogramGroup(
        time,
        np.array([point.start_time_unix_nano for point in points], np.uint64),
        counts,
        np.array([point.sum if point.HasField("sum") else np.nan for point in points], np.float64),
        buckets,
        [description(point) for point in points],
    )


def point_problem(point: Any) -> str:
    """Why no histogram point like this one can be represented, or nothing."""
    if point.flags & _NO_RECORDED_VALUE:
        return NO_VALUE
    return TIME if max(point.time_unix_nano, point.start_time_unix_nano) > MOST_TIME else ""
