# SPDX-License-Identifier: Apache-2.0
"""Cumulative counters and histograms as deltas: what was counted since the previous batch.

The rules are those of the OpenTelemetry data model and of the Collector's ``cumulativetodelta``:

* a row's first value is a delta if counting started after the conversion did; an older or unknown start leaves out the
  first value, which somebody may have been sent already;
* a value below the previous one, or a start time after the previous value, is a restart: all of the value is new;
* a row that was absent continues from its last value, if it returns within `FORGET_AFTER`;
* a delta starts where the previous one ended, so nothing is counted twice or between two deltas.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, Frames, Kind, Temporality
from .row_index import Mask, RowIndex, latest
from .streams import Attendance, Stream

MAX_ABSENT_ROWS = 100_000
FORGET_AFTER = 7200 * 10**9
"""How long an absent row is remembered, in ns; longer than a receiver keeps a row, so its id cannot return."""
COUNTING = (Kind.COUNTER, Kind.HISTOGRAM)


@dataclass
class Deltas:
    """Converts frames of ``kinds``; others stay as they are. Calls come one at a time, in the order of the batches.

    ``since``: when the conversion started, ns since the epoch.
    """

    since: int
    kinds: Collection[Kind] = COUNTING
    _rows: dict[Stream, _Rows] = field(default_factory=dict)
    _streams: Attendance[Stream] = field(default_factory=Attendance)

    def of(self, frames: Frames) -> tuple[Sequence[Frame], int]:
        """The frames of a batch as deltas, and how many points were left out because their start is unknown."""
        made = [self._delta(frame) if self._is_converted(frame) else frame for frame in frames]
        for source in dict.fromkeys(frame.source for frame in frames):
            for stream in self._streams.batch(source, [f.stream for f in frames if f.source == source]):
                self._rows.pop(stream, None)
        return made, sum(map(len, frames)) - sum(map(len, made))

    def _is_converted(self, frame: Frame) -> bool:
        return frame.kind in self.kinds and frame.temporality is not Temporality.DELTA

    def _delta(self, frame: Frame) -> Frame:
        rows = self._rows.get(frame.stream)
        if rows is None or not rows.fits(frame):
            rows = self._rows[frame.stream] = _Rows(frame, self.since)
        return rows.delta(frame)


def without_empty(frame: Frame) -> Frame:
    """A delta histogram without the rows that observed nothing; any other frame is returned unchanged."""
    if frame.kind is not Kind.HISTOGRAM or frame.temporality is not Temporality.DELTA:
        return frame
    observed = np.asarray(frame.values.any(axis=1))
    return frame if observed.all() else frame.take(observed)


class _Rows:
    """The last values of a stream's rows. ``times``: when they were read, 0 for a new row."""

    def __init__(self, frame: Frame, since: int) -> None:
        self._since, self._like = since, _shape(frame)
        self._index = RowIndex()
        self.values = frame.values[:0].copy()
        self.sums = np.zeros(0)
        self.times = np.zeros(0, np.int64)

    def fits(self, frame: Frame) -> bool:
        """Whether the frame continues these values; false for other buckets or another type of number."""
        return self._like == _shape(frame)

    def delta(self, frame: Frame) -> Frame:
        """What the frame adds to the stored values, which it replaces."""
        now, starts = frame.time_unix_nano, frame.start_times().astype(np.int64)
        self._follow(frame, now)
        at = self._index.places
        times, before = self.times[at], self.values[at]
        new = times == 0
        anew = new | _below(frame.values, before) | (starts >= times)
        known = ~new | ((starts >= self._since) & ~self._index.may_return(frame.rows.ids))
        made = replace(
            frame,
            values=frame.values
            - np.where(anew if before.ndim < 2 else anew[:, np.newaxis], 0, before).astype(before.dtype),
            sums=None if frame.sums is None else frame.sums - np.where(anew, 0.0, self.sums[at]),
            start_time_unix_nano=np.minimum(np.where(anew, np.maximum(starts, times), times), now).astype(np.uint64),
            temporality=Temporality.DELTA,
        )
        self.values[at], self.times[at] = frame.values, now
        if frame.sums is not None:
            self.sums[at] = frame.sums
        return made if known.all() else made.take(known)

    def _follow(self, frame: Frame, now: int) -> None:
        times = self.times
        change = self._index.follow(
            frame.rows, lambda absent: latest(absent & (times > now - FORGET_AFTER), times, MAX_ABSENT_ROWS)
        )
        if change is not None:
            self.values, self.sums = change.of(self.values, 0), change.of(self.sums, 0.0)
            self.times = change.of(self.times, 0)


def _below(values: NDArray[Any], before: NDArray[Any]) -> Mask:
    lower = values < before
    return np.asarray(lower if lower.ndim < 2 else lower.any(axis=1))


def _shape(frame: Frame) -> tuple[object, ...]:
    return frame.kind, frame.values.dtype, None if frame.bounds is None else frame.bounds.tobytes()
