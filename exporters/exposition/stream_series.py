# SPDX-License-Identifier: Apache-2.0
"""The series that one stream has in a metric family: those of its newest frame, and those that earlier ones held.

A row is recognised by its id: when it is described anew (a name became known), its old series makes way at once, or a
sum over the page would count the row twice. Rows that the newest frame does not hold keep their last value.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from ...pipeline.frame import Frame, Temporality
from ...pipeline.streams import Stream
from .labels import LabelTable
from .series import Points


@dataclass(slots=True)
class StreamSeries:
    """``live``: what is on the page of the newest frame, which was read at ``time`` (ns since the epoch), exported at
    ``exported`` (monotonic seconds), and has the labels of ``table``. ``kept``: series of earlier frames."""

    live: Points
    table: LabelTable
    time: int
    exported: float
    kept: Points | None = None
    apart: dict[Stream, tuple[object, ...]] = field(default_factory=dict)
    """Streams found to have no labels in common with this one, and what was compared."""

    @classmethod
    def of(cls, frame: Frame, table: LabelTable, now: float, without: Collection[str] = ()) -> StreamSeries:
        """The series of a first frame, but for those with the label blocks ``without``."""
        return cls(Points.of(frame, table, now).without(without), table, frame.time_unix_nano, now)

    def parts(self) -> tuple[Points, ...]:
        """The series in the order of the page."""
        return tuple(part for part in (self.live, self.kept) if part is not None and len(part))

    def update(self, frame: Frame, table: LabelTable, now: float, without: Collection[str] = ()) -> int:
        """Take a newer frame in. Returns how many series were overwritten though they were read at the same time:
        these came twice."""
        new, twice = Points.of(frame, table, now).without(without), 0
        later = frame.time_unix_nano != self.time  # if not, it is a second part of the same reading
        if not later:
            again = new.also_in(self.live)
            twice = int(again.sum())
            if frame.temporality is Temporality.DELTA:  # the same rows by another pipeline did not happen twice
                new = new.as_zero(again & np.isin(new.ids, self.live.ids))
        if frame.temporality is Temporality.DELTA:
            for part in self.parts():
                new = new.added_to(part, by_id=later)
        if table is not self.table or not later:
            self.kept = self._left_by(table, by_id=later)
        self.live, self.table, self.time, self.exported = new, table, frame.time_unix_nano, now
        return twice

    def _left_by(self, table: LabelTable, *, by_id: bool) -> Points:
        """What is left of earlier frames: series of rows that are not in ``table``, with labels that are not either."""
        old = self.live if self.kept is None else self.kept.joined(self.live)
        if by_id and len(old):
            old = old.take(~np.isin(old.ids, table.ids))
        return old.without(set(old.blocks).intersection(table.blocks))

    def is_apart(self, stream: Stream, other: StreamSeries, blocks: list[str]) -> bool:
        """Whether ``blocks`` and the other's series were found to have nothing in common, and are still the same."""
        before, now = self.apart.get(stream, ()), (blocks, other.live.blocks, other.kept)
        return bool(before) and all(one is another for one, another in zip(before, now, strict=True))

    def leave(self, blocks: list[str], *, all_of_them: bool) -> set[str]:
        """Give up the series with these labels to another stream: those of earlier frames, or ``all_of_them``. Returns
        the labels of those that this stream keeps."""
        if self.kept is not None:
            self.kept = self.kept.without(set(self.kept.blocks).intersection(blocks))
        common = set(self.live.blocks).intersection(blocks)
        if not all_of_them:
            return common
        self.live = self.live.without(common)
        return set()

    def expire(self, before: float) -> None:
        """Forget series that were last exported earlier than ``before``."""
        if self.exported < before:  # a frame is exported as a whole
            self.live = self.live.take(np.zeros(len(self.live), dtype=np.bool_))
        if self.kept is not None:
            self.kept = self.kept.take(self.kept.seen >= before)

    def oldest(self) -> float:
        """When the series that expires first was exported."""
        kept = self.kept.seen.min() if self.kept is not None and len(self.kept) else self.exported
        return min(self.exported, float(kept))
