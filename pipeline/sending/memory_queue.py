# SPDX-License-Identifier: Apache-2.0
"""A bounded in-memory queue of batches that drops the oldest."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ebpf_sidecar.pipeline.frame import Frame, Frames, points
from ebpf_sidecar.pipeline.push_settings import Sizer
from ebpf_sidecar.pipeline.rows import RowSet, Text


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that arrived together, and their size."""

    frames: Frames
    points: int
    bytes: int

    @classmethod
    def of(cls, frames: Frames) -> Batch:
        """``frames``, measured. Arrays that several frames share are counted once."""
        rows = {id(frame.rows): frame.rows for frame in frames}
        arrays = {id(array): array.nbytes for frame in frames for array in _arrays(frame)}
        return cls(frames, points(frames), sum(map(_row_set_bytes, rows.values())) + sum(arrays.values()))

    def size(self, sizer: Sizer) -> int:
        """The queue capacity that it uses."""
        return {Sizer.REQUESTS: 1, Sizer.ITEMS: self.points, Sizer.BYTES: self.bytes}[sizer]


def _arrays(frame: Frame) -> Iterator[np.ndarray]:
    buckets = (frame.buckets.bounds, frame.buckets.advised) if frame.buckets else ()
    for array in (frame.values, frame.sums, frame.start_time_unix_nano, *buckets):
        if isinstance(array, np.ndarray):
            yield array


def _row_set_bytes(rows: RowSet) -> int:
    columns = rows.columns.values()
    words = sum(sum(map(len, column.words)) for column in columns if isinstance(column, Text))
    return rows.ids.nbytes + words + sum((c.codes if isinstance(c, Text) else c).nbytes for c in columns)


class MemoryQueue:
    """First in, first out. Not thread-safe: callers lock it."""

    def __init__(self, capacity: int, sizer: Sizer) -> None:
        self.capacity, self._sizer = capacity, sizer
        self._waiting: deque[Batch] = deque()
        self.size = 0
        """The current size, in the sizer's unit."""

    def __len__(self) -> int:
        """The number of queued batches."""
        return len(self._waiting)

    @property
    def points(self) -> int:
        """The number of queued data points."""
        return sum(batch.points for batch in self._waiting)

    def has_room(self, batch: Batch) -> bool:
        """Whether a batch fits; an empty queue accepts a batch of any size."""
        return not self._waiting or self.size + batch.size(self._sizer) <= self.capacity

    def put(self, batch: Batch) -> list[Batch]:
        """Add a batch; returns the oldest ones that were removed to make room."""
        gave_way = []
        while not self.has_room(batch):
            gave_way.append(self.take())
        self._waiting.append(batch)
        self.size += batch.size(self._sizer)
        return gave_way

    def take(self) -> Batch:
        """Remove the oldest batch. Raises IndexError if the queue is empty."""
        batch = self._waiting.popleft()
        self.size -= batch.size(self._sizer)
        return batch
