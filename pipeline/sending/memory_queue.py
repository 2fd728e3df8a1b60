# SPDX-License-Identifier: Apache-2.0
"""Batches that wait in memory, bounded; the oldest give way."""

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
    """Frames that came at the same time, and how much they are."""

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
        """How much of a queue it takes."""
        return {Sizer.REQUESTS: 1, Sizer.ITEMS: self.points, Sizer.BYTES: self.bytes}[sizer]


def _arrays(frame: Frame) -> Iterator[np.ndarray]:
    for array in (frame.values, frame.bounds, frame.sums, frame.start_time_unix_nano, frame.advised_bounds):
        if isinstance(array, np.ndarray):
            yield array


def _row_set_bytes(rows: RowSet) -> int:
    columns = rows.columns.values()
    words = sum(sum(map(len, column.words)) for column in columns if isinstance(column, Text))
    return rows.ids.nbytes + words + sum((c.codes if isinstance(c, Text) else c).nbytes for c in columns)


class MemoryQueue:
    """First in, first out. Not locked: whoever shares it does that."""

    def __init__(self, capacity: int, sizer: Sizer) -> None:
        self.capacity, self._sizer = capacity, sizer
        self._waiting: deque[Batch] = deque()
        self.size = 0
        """How much waits, as the sizer measures."""

    def __len__(self) -> int:
        """Batches that wait."""
        return len(self._waiting)

    @property
    def points(self) -> int:
        """Data points that wait."""
        return sum(batch.points for batch in self._waiting)

    def has_room(self, batch: Batch) -> bool:
        """Whether it fits beside what waits; nothing is ever too large for an empty queue's first place."""
        return not self._waiting or self.size + batch.size(self._sizer) <= self.capacity

    def put(self, batch: Batch) -> list[Batch]:
        """Let a batch wait; the oldest ones that had to give way for it."""
        gave_way = []
        while not self.has_room(batch):
            gave_way.append(self.take())
        self._waiting.append(batch)
        self.size += batch.size(self._sizer)
        return gave_way

    def take(self) -> Batch:
        """The oldest. Raises IndexError when nothing waits."""
        batch = self._waiting.popleft()
        self.size -= batch.size(self._sizer)
        return batch
