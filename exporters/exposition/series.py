# SPDX-License-Identifier: Apache-2.0
"""Series with their latest values, in columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame

from .labels import LabelTable


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Series of one family; arrays with one entry (row) per block.

    ``ids``: of the rows, see `RowSet`. ``blocks``: label text. ``times``, ``starts``: nanoseconds since the epoch.
    ``seen``: monotonic seconds at which the series was last exported. ``hidden``: for how many more readings the series
    is shown as zero, see `zero_first`.
    """

    ids: NDArray[np.uint64]
    blocks: list[str]
    values: NDArray[Any]
    sums: NDArray[np.float64] | None
    times: NDArray[np.int64]
    starts: NDArray[np.uint64]
    seen: NDArray[np.float64]
    hidden: NDArray[np.uint8]

    @classmethod
    def of(cls, frame: Frame, table: LabelTable, now: float) -> Points:
        """The frame's points, exported ``now``; the last of several with the same labels."""
        if table.selection is not None:
            frame = frame.take(table.selection)
        shape = (len(frame),)
        return cls(
            frame.rows.ids,
            table.blocks,
            frame.values,
            frame.sums,
            np.broadcast_to(np.int64(frame.time_unix_nano), shape),  # a view: one number in memory
            frame.start_times(),
            np.broadcast_to(np.float64(now), shape),
            np.zeros(shape, np.uint8),
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
            yield self._chosen(part, self.blocks[part])

    def take(self, mask: NDArray[np.bool_]) -> Points:
        """The series selected by the mask."""
        if mask.all():
            return self
        return self._chosen(mask, list(compress(self.blocks, mask.tolist())))

    def _chosen(self, which: NDArray[np.bool_] | slice, blocks: list[str]) -> Points:
        sums = None if self.sums is None else self.sums[which]
        columns = (self.times[which], self.starts[which], self.seen[which], self.hidden[which])
        return Points(self.ids[which], blocks, self.values[which], sums, *columns)

    def without(self, blocks: Collection[str]) -> Points:
        """The series whose labels are not among ``blocks``."""
        if not blocks:
            return self
        return self.take(np.fromiter((block not in blocks for block in self.blocks), np.bool_, len(self)))

    def also_in(self, other: Points) -> NDArray[np.bool_]:
        """Which series are also in ``other``, by their labels."""
        blocks = set(other.blocks)
        return np.fromiter((block in blocks for block in self.blocks), np.bool_, len(self))

    def shown(self) -> Points:
        """The same series as shown on the page."""
        return self.as_zero(self.hidden > 0)

    def as_zero(self, mask: NDArray[np.bool_]) -> Points:
        """The same series, with zero where the mask is true."""
        if not mask.any():
            return self
        values, sums = self.values.copy(), None if self.sums is None else self.sums.copy()
        for array in (values, sums):
            if array is not None:
                array[mask] = 0
        return replace(self, values=values, sums=sums)

    def joined(self, other: Points) -> Points:
        """These series and the other ones."""
        if not len(other):
            return self
        if not len(self):
            return other
        sums = None if self.sums is None or other.sums is None else np.concatenate((self.sums, other.sums))
        columns = ("times", "starts", "seen", "hidden")
        pairs = [(getattr(self, name), getattr(other, name)) for name in ("ids", "values", *columns)]
        ids, values, *rest = (np.concatenate(pair) for pair in pairs)
        return Points(ids, self.blocks + other.blocks, values, sums, *rest)

    def added_to(self, earlier: Points, *, by_id: bool) -> Points:
        """These deltas added to the earlier counts of the same rows, with the earlier start times.

        A row continues the row with its id, or a series with its labels whose row is not here. Without ``by_id`` only
        labels are compared.
        """
        values, starts = self.values.copy(), self.starts.copy()
        sums = None if self.sums is None else self.sums.copy()
        for here, there in self._continued(earlier, by_id=by_id):
            values[here] += earlier.values[there]
            starts[here] = np.minimum(starts[here], earlier.starts[there])
            if sums is not None and earlier.sums is not None:
                sums[here] += earlier.sums[there]
        return replace(self, values=values, starts=starts, sums=sums)

    def _continued(self, earlier: Points, *, by_id: bool) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Positions of series, and of the earlier ones that they continue: by id, then by labels."""
        if self.blocks is earlier.blocks:
            yield np.arange(len(self)), np.arange(len(self))
            return
        free = np.ones(len(earlier), np.bool_)
        if by_id:
            _, here, there = np.intersect1d(self.ids, earlier.ids, return_indices=True)
            yield here, there
            free = ~np.isin(earlier.ids, self.ids)
        position = {earlier.blocks[number]: number for number in np.flatnonzero(free).tolist()}
        pairs = [(number, position[block]) for number, block in enumerate(self.blocks) if block in position]
        if pairs:
            matched = np.array(pairs, np.intp)
            yield matched[:, 0], matched[:, 1]
