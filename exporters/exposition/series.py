# SPDX-License-Identifier: Apache-2.0
"""Series with their latest values, in columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pipeline.frame import Frame
from .labels import LabelTable


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Series of one family; arrays with one entry (row) per block.

    ``blocks``: label text. ``times``, ``starts``: nanoseconds since the epoch. ``seen``: monotonic seconds at which
    the series was last exported.
    """

    blocks: list[str]
    values: NDArray[Any]
    sums: NDArray[np.float64] | None
    times: NDArray[np.int64]
    starts: NDArray[np.uint64]
    seen: NDArray[np.float64]

    @classmethod
    def of(cls, frame: Frame, table: LabelTable, now: float) -> Points:
        """The frame's points, exported ``now``, the last where several have the same labels."""
        if table.selection is not None:
            frame = frame.take(table.selection)
        shape = (len(frame),)
        return cls(
            table.blocks,
            frame.values,
            frame.sums,
            np.broadcast_to(np.int64(frame.time_unix_nano), shape),  # a view: one number in memory
            frame.start_times(),
            np.broadcast_to(np.float64(now), shape),
        )

    def __len__(self) -> int:
        return len(self.blocks)

    def slices(self, size: int) -> Iterator[Points]:
        """The same series, at most ``size`` at a time, as views."""
        if len(self) <= size:
            yield self
            return
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            sums = None if self.sums is None else self.sums[part]
            yield Points(
                self.blocks[part], self.values[part], sums, self.times[part], self.starts[part], self.seen[part]
            )

    def take(self, mask: NDArray[np.bool_]) -> Points:
        """The series that the mask chooses."""
        if mask.all():
            return self
        blocks = np.array(self.blocks, dtype=object)[mask].tolist()
        sums = None if self.sums is None else self.sums[mask]
        return Points(blocks, self.values[mask], sums, self.times[mask], self.starts[mask], self.seen[mask])

    def without(self, blocks: set[str]) -> Points:
        """The series whose labels are not among ``blocks``."""
        return self.take(np.fromiter((block not in blocks for block in self.blocks), np.bool_, len(self)))

    def joined(self, other: Points) -> Points:
        """These series and the other ones."""
        if not len(other):
            return self
        if not len(self):
            return other
        sums = None if self.sums is None or other.sums is None else np.concatenate((self.sums, other.sums))
        pairs = ((self.values, other.values), (self.times, other.times), (self.starts, other.starts))
        values, times, starts = (np.concatenate(pair) for pair in pairs)
        return Points(self.blocks + other.blocks, values, sums, times, starts, np.concatenate((self.seen, other.seen)))

    def added_to(self, earlier: Points) -> Points:
        """These deltas on top of what the same series had counted before, and since when."""
        if self.blocks is earlier.blocks:
            here = there = np.arange(len(self))
        else:
            position = {block: number for number, block in enumerate(earlier.blocks)}
            there = np.array([position.get(block, -1) for block in self.blocks], dtype=np.intp)
            here = np.flatnonzero(there >= 0)
            there = there[here]
        values, starts = self.values.copy(), self.starts.copy()
        values[here] += earlier.values[there]
        starts[here] = earlier.starts[there]
        if self.sums is None or earlier.sums is None:
            return replace(self, values=values, starts=starts)
        sums = self.sums.copy()
        sums[here] += earlier.sums[there]
        return replace(self, values=values, starts=starts, sums=sums)
