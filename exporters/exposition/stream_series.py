# SPDX-License-Identifier: Apache-2.0
"""The series of one stream in a metric family: those of its newest frame, and those of earlier frames.

A row is identified by its id: when its attributes change (a name became known), its old series is removed at once, or a
sum over the page would count the row twice. Counters of rows that are not in the newest frame keep their last value;
gauges disappear.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Kind, Temporality
from ebpf_sidecar.pipeline.streams import Stream

from .labels import LabelTable
from .readings import Reading
from .series import Points
from .zero_first import after_next_reading, start_at_zero

_COUNTING = (Kind.COUNTER, Kind.HISTOGRAM)
_NO_IDS = np.empty(0, np.uint64)


@dataclass(slots=True)
class StreamSeries:
    """``live``: the series of the newest frame, which belongs to ``reading``, was read at ``time`` (ns since the
    epoch), and has the labels of ``table``. ``kept``: series of earlier frames. ``counts``: new series are 0 first.
    ``momentary``: values are only valid for their reading, which may have several frames (``in_parts``)."""

    live: Points
    table: LabelTable
    time: int
    reading: Reading
    counts: bool
    momentary: bool
    kept: Points | None = None
    in_parts: bool = False
    waiting: NDArray[np.uint64] = field(default_factory=lambda: _NO_IDS)
    """Ids of the rows that were 0 up to the newest reading."""
    apart: dict[Stream, tuple[object, ...]] = field(default_factory=dict)
    """Streams that have no labels in common with this one, and what was compared."""

    @classmethod
    def of(cls, frame: Frame, table: LabelTable, reading: Reading, without: Collection[str] = ()) -> StreamSeries:
        """The series of a first frame, except those with the label blocks ``without``."""
        live, counts = Points.of(frame, table, reading.exported).without(without), frame.kind in _COUNTING
        if counts:
            live = start_at_zero(live, (), reading.since, _NO_IDS)
        momentary = not counts and frame.temporality is not Temporality.DELTA
        return cls(live, table, frame.time_unix_nano, reading, counts, momentary)

    @property
    def exported(self) -> float:
        """When the newest frame was exported, monotonic seconds."""
        return self.reading.exported

    def parts(self) -> tuple[Points, ...]:
        """The series in the order of the page."""
        return tuple(part for part in (self.live, self.kept) if part is not None and len(part))

    def begin(self, reading: Reading) -> None:
        """Start another reading, whether this stream is in it or not."""
        if reading.batch == 0:
            self.waiting = np.concatenate([_NO_IDS, *(part.ids[part.hidden > 0] for part in self.parts())])
            self._advance(scraped=reading.scrapes > self.reading.scrapes, now=reading.exported, time=reading.time)

    def reveal(self, now: float, time: int) -> None:
        """Show every series' value, because no reading is expected."""
        self._advance(scraped=True, now=now, time=time)

    def _advance(self, *, scraped: bool, now: float, time: int) -> None:
        self.live = after_next_reading(self.live, scraped=scraped, now=now, time=time)
        if self.kept is not None:
            self.kept = after_next_reading(self.kept, scraped=scraped, now=now, time=time)

    def update(self, frame: Frame, table: LabelTable, reading: Reading, without: Collection[str] = ()) -> int:
        """Add a newer frame. Returns how many series were overwritten although they were read at the same time:
        duplicates."""
        new, twice = Points.of(frame, table, reading.exported).without(without), 0
        later = frame.time_unix_nano != self.time  # otherwise it is a second part of the same reading
        if not later:
            again = new.also_in(self.live)
            twice = int(again.sum())
            if frame.temporality is Temporality.DELTA:  # the same rows from another pipeline are not counted twice
                new = new.as_zero(again & np.isin(new.ids, self.live.ids))
        if frame.temporality is Temporality.DELTA:
            for part in self.parts():
                new = new.added_to(part, by_id=later)
        if self.counts:
            new = start_at_zero(new, self.parts(), reading.since, self.waiting)
        if table is not self.table or not later or self.momentary:
            self.kept = self._left_by(table, by_id=later)
        self.live, self.table, self.time, self.reading = new, table, frame.time_unix_nano, reading
        self.in_parts = not later
        return twice

    def _left_by(self, table: LabelTable, *, by_id: bool) -> Points:
        """What remains of earlier frames: series whose rows and labels are not in ``table``."""
        old = self.live if self.kept is None else self.kept.joined(self.live)
        if self.momentary and by_id:  # the rest of a reading in parts may still arrive
            old = old.take((old.times >= self.time) & self.in_parts)
        if by_id and len(old):
            old = old.take(~np.isin(old.ids, table.ids))
        return old.without(set(old.blocks).intersection(table.blocks))

    def is_apart(self, stream: Stream, other: StreamSeries, blocks: list[str]) -> bool:
        """Whether ``blocks`` and the other's series had nothing in common, and are unchanged since."""
        before, now = self.apart.get(stream, ()), (blocks, other.live.blocks, other.kept)
        return bool(before) and all(one is another for one, another in zip(before, now, strict=True))

    def leave(self, blocks: list[str], *, all_of_them: bool) -> set[str]:
        """Yield the series with these labels to another stream: those of earlier frames, or ``all_of_them``. Returns
        the labels that this stream keeps."""
        if self.kept is not None:
            self.kept = self.kept.without(set(self.kept.blocks).intersection(blocks))
        common = set(self.live.blocks).intersection(blocks)
        if not all_of_them:
            return common
        self.live = self.live.without(common)
        return set()

    def expire(self, before: float) -> None:
        """Forget series that were last exported before ``before``, once their value was shown."""
        self.live = self.live.take((self.live.seen >= before) | (self.live.hidden > 0))
        if self.kept is not None:
            self.kept = self.kept.take((self.kept.seen >= before) | (self.kept.hidden > 0))

    def oldest(self) -> float:
        """When the series that expires first was exported."""
        return min((float(part.seen.min()) for part in self.parts()), default=self.exported)
