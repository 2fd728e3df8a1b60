# SPDX-License-Identifier: Apache-2.0
"""A bounded in-memory queue of batches that drops the oldest."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ebpf_sidecar.pipeline.frame import Frame, Frames, points
from ebpf_sidecar.pipeline.push_settings import Sizer
from ebpf_sidecar.pipeline.rows import RowSet, Text

_FRAME, _WORD, _ROW_SET = 1_000, 60, 500
"""Bytes of Python's and NumPy's objects: of a frame with its arrays, of a text besides its characters, of a row set.
Without them, a queue of small frames takes twice what it may (the test measures it)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that arrived together, and their size. ``bytes``: without the row sets, whose bytes are in ``rows``."""

    frames: Frames
    points: int
    bytes: int
    rows: Mapping[RowSet, int]

    @classmethod
    def of(cls, frames: Frames) -> Batch:
        """``frames``, measured. Arrays that several frames share are counted once."""
        rows = {frame.rows: _row_set_bytes(frame.rows) for frame in frames}
        arrays = {id(array): array.nbytes for frame in frames for array in _arrays(frame)}
        return cls(frames, points(frames), _FRAME * len(frames) + sum(arrays.values()), rows)


def _arrays(frame: Frame) -> Iterator[np.ndarray]:
    buckets = (frame.buckets.bounds, frame.buckets.advised) if frame.buckets else ()
    for array in (frame.values, frame.sums, frame.start_time_unix_nano, *buckets):
        if isinstance(array, np.ndarray):
            yield array


def _row_set_bytes(rows: RowSet) -> int:
    columns = rows.columns.values()
    texts = [column.words for column in columns if isinstance(column, Text)]
    words = sum(sum(map(len, each)) + _WORD * len(each) for each in texts)
    return _ROW_SET + rows.ids.nbytes + words + sum((c.codes if isinstance(c, Text) else c).nbytes for c in columns)


class MemoryQueue:
    """First in, first out. Not thread-safe: callers lock it."""

    def __init__(self, capacity: int, sizer: Sizer) -> None:
        self.capacity, self._sizer = capacity, sizer
        self._waiting: deque[Batch] = deque()
        self._rows: Counter[RowSet] = Counter()
        self.size = 0
        """The current size, in the sizer's unit. Row sets that several batches share are counted once."""

    def __len__(self) -> int:
        """The number of queued batches."""
        return len(self._waiting)

    @property
    def points(self) -> int:
        """The number of queued data points."""
        return sum(batch.points for batch in self._waiting)

    def has_room(self, batch: Batch) -> bool:
        """Whether a batch fits; an empty queue accepts a batch of any size."""
        return not self._waiting or self.size + self._size(batch) <= self.capacity

    def put(self, batch: Batch) -> list[Batch]:
        """Add a batch; returns the oldest ones that were removed to make room."""
        gave_way = []
        while not self.has_room(batch):
            gave_way.append(self.take())
        self.size += self._size(batch)
        self._rows.update(batch.rows.keys())
        self._waiting.append(batch)
        return gave_way

    def take(self) -> Batch:
        """Remove the oldest batch. Raises IndexError if the queue is empty."""
        batch = self._waiting.popleft()
        for rows in batch.rows:
            self._rows[rows] -= 1
            if not self._rows[rows]:
                del self._rows[rows]
        self.size -= self._size(batch)
        return batch

    def shed(self, wanted: int) -> tuple[list[Batch], int]:
        """Remove the oldest batches until ``wanted`` bytes are free or the queue is empty; returns them and the bytes
        that are free."""
        given_up: list[Batch] = []
        freed = 0
        while freed < wanted and self._waiting:
            given_up.append(self.take())
            freed += self._bytes(given_up[-1])
        return given_up, freed

    def _size(self, batch: Batch) -> int:
        """What a batch that is not in the queue would add to its size."""
        if self._sizer is Sizer.BYTES:
            return self._bytes(batch)
        return 1 if self._sizer is Sizer.REQUESTS else batch.points

    def _bytes(self, batch: Batch) -> int:
        """The bytes of a batch that is not in the queue, without row sets that are."""
        return batch.bytes + sum(size for rows, size in batch.rows.items() if rows not in self._rows)
