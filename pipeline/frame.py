# SPDX-License-Identifier: Apache-2.0
"""What flows through a pipeline: a frame is one metric over a row set, in columns.

A component receives and returns a sequence of frames. Frames are immutable, so all exporters can be given the same
ones; a changed frame is a new one that shares the unchanged parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .buckets import Buckets
from .errors import FrameError
from .ids import ComponentId
from .resource import Resource
from .rows import RowSet, Selection, frozen
from .streams import Origin, Stream


class Kind(StrEnum):
    """The OpenTelemetry instrument a metric corresponds to."""

    COUNTER = "counter"
    UPDOWNCOUNTER = "updowncounter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Temporality(StrEnum):
    """Whether a value counts from the row's start time or from the previous frame. Gauges have no temporality."""

    CUMULATIVE = "cumulative"
    DELTA = "delta"
    UNSPECIFIED = "unspecified"


@dataclass(frozen=True, slots=True)
class Scope:
    """The instrumentation scope: which part of the product made the frame."""

    name: str = "ebpf_sidecar"
    version: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One metric.

    ``values``: one per row. uint64 for counters, float64 (or integers) for gauges and updowncounters; for histograms
    rows × (len(bounds) + 1) uint64, the observations in each bucket (not accumulated over buckets), the last one +Inf.
    ``buckets``: which buckets those are, explicit or exponential; their bounds are in ``unit`` (histograms only).
    ``sums``: float64 sum of the observed values per row (histograms only).
    ``time_unix_nano``: when the values were read, on the wall clock, which may jump. ``start_time_unix_nano``: when
    counting started, one number for all rows or uint64 per row; 0 for gauges.
    ``monotonic_nano``: the same time on a monotonic clock, used to measure intervals; None if the receiver has none. It
    is only meaningful in this process.
    ``resource``: any mapping; stored as an immutable `Resource`.
    ``source``: the receiver that made the rows; the pipeline sets it, whatever a component writes there.
    Raises `FrameError` when shapes do not fit.
    """

    name: str
    kind: Kind
    rows: RowSet
    values: NDArray[Any]
    time_unix_nano: int
    start_time_unix_nano: int | NDArray[np.uint64] = 0
    unit: str = ""
    description: str = ""
    temporality: Temporality = Temporality.CUMULATIVE
    buckets: Buckets | None = None
    sums: NDArray[np.float64] | None = None
    resource: Mapping[str, str] = Resource()
    scope: Scope = Scope()
    source: ComponentId | None = None
    monotonic_nano: int | None = None

    def __post_init__(self) -> None:
        for name in ("values", "sums", "start_time_unix_nano"):
            array = getattr(self, name)
            if isinstance(array, (np.ndarray, list, tuple)):
                object.__setattr__(self, name, frozen(np.asarray(array)))
        object.__setattr__(self, "resource", Resource(self.resource))
        if self.kind is Kind.GAUGE:
            object.__setattr__(self, "temporality", Temporality.UNSPECIFIED)
        self._check()

    def _check(self) -> None:
        rows = len(self.rows)
        expected: tuple[int, ...] = (rows,)
        if self.kind is Kind.HISTOGRAM:
            if self.buckets is None or self.sums is None:
                raise FrameError(f'frame "{self.name}": a histogram needs buckets and sums; give both')
            expected = (rows, len(self.buckets.bounds) + 1)
            self._check_shape("sums", self.sums, (rows,))
        self._check_shape("values", self.values, expected)
        if isinstance(self.start_time_unix_nano, np.ndarray):
            self._check_shape("start_time_unix_nano", self.start_time_unix_nano, (rows,))

    def _check_shape(self, part: str, array: NDArray[Any], expected: tuple[int, ...]) -> None:
        if array.shape != expected:
            raise FrameError(f'frame "{self.name}": {part} has shape {array.shape}; give shape {expected}')

    def __len__(self) -> int:
        """The number of points (rows)."""
        return len(self.rows)

    @property
    def bounds(self) -> NDArray[np.float64] | None:
        """The inclusive upper bounds of a histogram's buckets, ascending, in ``unit``; None for other metrics."""
        return None if self.buckets is None else self.buckets.bounds

    @property
    def stream(self) -> Stream:
        """The stream that this frame continues: row ids are those of the stream's rows in earlier batches."""
        return Stream(self.name, Origin(self.source, self.scope.name, Resource(self.resource)))

    def with_values(self, values: NDArray[Any]) -> Frame:
        """The same metric of the same rows with other values."""
        return replace(self, values=values)

    def with_rows(self, rows: RowSet) -> Frame:
        """The same values for rows with other attributes (the same number, in the same order)."""
        return replace(self, rows=rows)

    def take(self, selection: Selection, rows: RowSet | None = None) -> Frame:
        """Only the selected rows; pass ``rows`` if they were already taken, so that frames share them."""
        start = self.start_time_unix_nano
        return replace(
            self,
            rows=self.rows.take(selection) if rows is None else rows,
            values=self.values[selection],
            sums=None if self.sums is None else self.sums[selection],
            start_time_unix_nano=start[selection] if isinstance(start, np.ndarray) else start,
        )

    def start_times(self) -> NDArray[np.uint64]:
        """The start time of every row, uint64 nanoseconds since the epoch."""
        return np.broadcast_to(np.asarray(self.start_time_unix_nano, dtype=np.uint64), (len(self),))


Frames = Sequence[Frame]


def points(frames: Frames) -> int:
    """The total number of data points in the frames."""
    return sum(len(frame) for frame in frames)
