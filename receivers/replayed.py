# SPDX-License-Identifier: Apache-2.0
"""Shifts a recording's frames to the present, in a loop.

Times move to now. Cumulative counters and histograms continue over the repetitions: each adds the counts of all
previous ones, so they never decrease; their start times stay. Gauges and deltas stay as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind, Temporality
from ebpf_sidecar.pipeline.row_index import RowIndex
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.pipeline.streams import Stream
from ebpf_sidecar.pipeline.timeline import Instant

_COUNTING = (Kind.COUNTER, Kind.HISTOGRAM)


@dataclass
class Replayed:
    """Moves frames in time.

    ``recorded``: when the recording's first batch was taken; ``shown``: when it is first replayed (both ns since the
    epoch). ``speed``: how many times faster than recorded. ``resource``: what to put on every frame.
    """

    recorded: int
    shown: int
    speed: float
    resource: Mapping[str, str]
    _counted: dict[Stream, _Counted] = field(default_factory=dict)
    """By stream, kept forever: each comes again with the next repetition, and there are no more than in the
    recording."""

    def __post_init__(self) -> None:
        self.newest_start = 0
        """The latest start time of any row, ns since the epoch."""

    def frames(self, recorded: Frames, now: Instant) -> Frames:
        """The frames as of ``now``."""
        return [self._moved(frame, now) for frame in recorded]

    def again(self) -> None:
        """The recording starts again."""
        for counted in self._counted.values():
            counted.again()

    def _moved(self, frame: Frame, now: Instant) -> Frame:
        moved = self._counting(frame, now)
        if moved.temporality is not Temporality.DELTA:  # a delta's start moved with it
            self.newest_start = max(self.newest_start, int(moved.start_times().max(initial=0)))
        return moved

    def _counting(self, frame: Frame, now: Instant) -> Frame:
        resource = {**frame.resource, **self.resource}
        frame = replace(frame, time_unix_nano=now.time_unix_nano, monotonic_nano=now.monotonic_nano, resource=resource)
        if frame.kind is Kind.GAUGE:
            return frame
        starts = self._starts(frame, now.time_unix_nano)
        if frame.kind not in _COUNTING or frame.temporality is not Temporality.CUMULATIVE:
            return replace(frame, start_time_unix_nano=starts)
        key = frame.stream
        if key not in self._counted or not self._counted[key].fits(frame):
            self._counted[key] = _Counted(frame)
        return self._counted[key].gone_on(frame, starts)

    def _starts(self, frame: Frame, now: int) -> NDArray[np.uint64]:
        """The start times, as long before now as they were before the first batch; unknown ones (0) stay unknown."""
        recorded = frame.start_times().astype(np.int64)
        since = self.shown + ((recorded - self.recorded) / self.speed).astype(np.int64)
        return np.where(recorded > 0, np.clip(since, 1, now), 0).astype(np.uint64)


class _Counted:
    """What a metric's rows counted: ``before`` in earlier repetitions, ``now`` in this one.

    A histogram's columns are its buckets, and it has ``sums``. ``starts``: 0 for a row that was not replayed yet.
    """

    def __init__(self, frame: Frame) -> None:
        """Nothing counted yet."""
        self._index = RowIndex()
        self.before = self.now = frame.values[:0].copy()
        self.sums_before = self.sums_now = np.zeros(0)
        self.starts = np.zeros(0, np.uint64)

    def fits(self, frame: Frame) -> bool:
        """Whether the frame still has the same shape."""
        return self.now.dtype == frame.values.dtype and self.now.shape[1:] == frame.values.shape[1:]

    def gone_on(self, frame: Frame, starts: NDArray[np.uint64]) -> Frame:
        """The frame plus all previous counts, with the first start times of its rows."""
        self._follow(frame.rows)
        at = self._index.places
        self.now[at] = frame.values
        self.starts[at] = np.where(self.starts[at] > 0, self.starts[at], starts)
        moved = replace(frame, values=self.before[at] + frame.values, start_time_unix_nano=self.starts[at])
        if frame.sums is None:
            return moved
        self.sums_now[at] = frame.sums
        return replace(moved, sums=self.sums_before[at] + frame.sums)

    def again(self) -> None:
        """Add the counts of this repetition to the previous ones."""
        self.before, self.now = self.before + self.now, np.zeros_like(self.now)
        self.sums_before, self.sums_now = self.sums_before + self.sums_now, np.zeros_like(self.sums_now)

    def _follow(self, rows: RowSet) -> None:
        """All rows of the recording are kept: each comes again."""
        change = self._index.follow(rows, lambda absent: absent)
        if change is not None:
            self.before, self.now = change.of(self.before, 0), change.of(self.now, 0)
            self.sums_before, self.sums_now = change.of(self.sums_before, 0), change.of(self.sums_now, 0)
            self.starts = change.of(self.starts, 0)
