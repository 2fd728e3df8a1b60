# SPDX-License-Identifier: Apache-2.0
"""By how much counters grew since the frame before.

The rules are those of Prometheus and of the OpenTelemetry data model (cumulative to delta):

* the first batch tells nothing, there is no interval yet;
* a metric or a row that was not there in the batch before was zero then: all of its value belongs to the interval;
* a row that was away and returns goes on from where it was: up to `MAX_ABSENT_ROWS` absent rows of a metric are kept,
  for `FORGET_AFTER`;
* a metric or a row that was away for so long that it was forgotten (see `Attendance`) starts anew when it returns, as
  in the first batch: its old total must not be counted a second time;
* a value below the one before, or a start time after it, is a restart: what was counted since is the increase, over
  the time since the start;
* intervals are those of the clock that never jumps, where the receiver has one (`Frame.monotonic_nano`); otherwise a
  frame that is not later than the one before (the wall clock was set back) gives nothing, and is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, Frames, Kind, Temporality
from .ids import ComponentId
from .row_index import Mask, RowIndex, latest
from .rows import RowSet
from .streams import Attendance, Origin, Stream

MAX_ABSENT_ROWS = 100_000
FORGET_AFTER = 7200 * 10**9
"""Nanoseconds for which an absent row is remembered; longer than a receiver keeps one, whose id then never returns."""
_UNSTARTED = np.iinfo(np.int64).max
"""The start time of a row that was not seen yet: its own, once it is seen, is no restart."""
MAX_FORGOTTEN_NAMES = 10_000
"""How many names of forgotten metrics of one origin are remembered; beyond, every new metric may be a returning one."""


@dataclass(frozen=True, slots=True)
class Increase:
    """What happened in the last interval, for each row of the frame.

    ``amounts``: float64, in the metric's unit (histograms: observations), never negative. ``seconds``: float64, how
    long that took, 0 where it is not known.
    """

    amounts: NDArray[np.float64]
    seconds: NDArray[np.float64]


class Increases:
    """Remembers the last values of each metric. ``report`` is told about frames out of order."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._seen: dict[Stream, _Seen] = {}
        self._latest: dict[Origin, int] = {}
        self._before: dict[Origin, int] = {}
        self._streams: Attendance[Stream] = Attendance()
        self._origins: Attendance[Origin] = Attendance()
        self._forgotten: dict[Origin, set[str]] = {}

    def batch(self, frames: Frames) -> list[Stream | Origin]:
        """Start with a batch of one receiver: its frames will be asked about next, some or all.

        Receivers leave out metrics of which nothing has happened; a batch of the same origin without the metric is how
        one knows that it was zero. Returns what is forgotten from now on.
        """
        streams = {frame.stream: reading_time(frame) for frame in frames}
        newest = {stream.origin: time for stream, time in streams.items()}
        self._before = {origin: self._latest[origin] for origin in newest if origin in self._latest}
        self._latest |= newest
        gone: list[Stream | Origin] = []
        for source in dict.fromkeys(origin.source for origin in newest):
            gone += self._forget(source, [stream for stream in streams if stream.origin.source == source])
        return gone

    def _forget(self, source: ComponentId | None, present: Sequence[Stream]) -> list[Stream | Origin]:
        streams = self._streams.batch(source, present)
        for stream in streams:
            names = self._forgotten.setdefault(stream.origin, set())
            if self._seen.pop(stream, None) and len(names) <= MAX_FORGOTTEN_NAMES:
                names.add(stream.metric)
        gone = self._origins.batch(source, dict.fromkeys(stream.origin for stream in present))
        for origin in gone:
            del self._latest[origin]
            self._forgotten.pop(origin, None)
        return [*streams, *gone]

    def of(self, frame: Frame) -> Increase | None:
        """The increase of a counter or histogram since its frame before; None when that is not known."""
        if frame.temporality is Temporality.DELTA:
            starts = frame.start_times()
            return _increase(counts(frame), frame.time_unix_nano, np.where(starts, starts, frame.time_unix_nano))
        key, current, now = frame.stream, counts(frame), reading_time(frame)
        seen = self._seen.get(key)
        if seen is None or seen.values.dtype != current.dtype:
            known = seen is not None or self._returns(key)
            before = now if known else self._before.get(key.origin, now)
            self._seen[key] = _Seen(before, current)
            increase = self._seen[key].update(frame, current)
            return increase if before < now else None
        if now <= seen.time:
            self._report(f'"{frame.name}" was not read after the time of its frame before; the interval is left out')
            seen.forget_times(now)
            seen.update(frame, current)
            return None
        return seen.update(frame, current)

    def _returns(self, stream: Stream) -> bool:
        """Whether a metric that is not remembered may have been counted before."""
        names = self._forgotten.get(stream.origin, ())
        return stream.metric in names or len(names) > MAX_FORGOTTEN_NAMES


def reading_time(frame: Frame) -> int:
    """When the frame was read, on the clock by which its intervals are measured."""
    return int(frame.time_unix_nano) if frame.monotonic_nano is None else frame.monotonic_nano


def counts(frame: Frame) -> NDArray[Any]:
    """What can only grow in a frame: values of counters, number of observations of histograms."""
    return frame.values.sum(axis=1, dtype=frame.values.dtype) if frame.kind is Kind.HISTOGRAM else frame.values


class _Seen:
    """The latest of every row. ``time`` and ``times``: see `reading_time`; ``starts`` are on the wall clock."""

    def __init__(self, time: int, like: NDArray[Any]) -> None:
        """No rows at all, as of ``time``."""
        self.time, self.values = time, np.zeros(0, like.dtype)
        self.starts, self.times = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._index = RowIndex()

    def update(self, frame: Frame, current: NDArray[Any]) -> Increase:
        """Take over a frame; the increase since the one before."""
        now = reading_time(frame)
        self._follow(frame.rows, now)
        at, starts = self._index.places, frame.start_times().astype(np.int64)
        # the row's moment before, as today's wall clock would have shown it, however it was set meanwhile
        before, since = self.values[at], frame.time_unix_nano - (now - self.times[at])
        # not only a later start: where the wall clock was set back, a restart starts before what it ended
        another = (starts != self.starts[at]) & (self.starts[at] != _UNSTARTED)
        restarted = (current < before) | (another & (starts >= since))
        with np.errstate(invalid="ignore"):  # infinite floats; left out below
            amounts = np.where(restarted, current, current - before)
        amounts = np.where(self._may_return(frame, since), 0, amounts)
        # only a restart inside the interval says when counting began; a row that is new was zero for all of it
        inside = restarted & (starts > since) & (starts < frame.time_unix_nano)
        increase = _increase(amounts, frame.time_unix_nano, np.where(inside, starts, since))
        self.values[at], self.starts[at], self.times[at], self.time = current, starts, now, now
        return increase

    def _may_return(self, frame: Frame, since: NDArray[np.int64]) -> Mask:
        """Which rows are not known, but may have been before they were forgotten, and began earlier than ``since``."""
        new = self.starts[self._index.places] == _UNSTARTED
        older = frame.start_times().astype(np.int64) < since
        return np.asarray(new & older & self._index.may_return(frame.rows.ids))

    def forget_times(self, latest: int) -> None:
        """The clock was set back: nothing can have been seen later than ``latest``."""
        np.minimum(self.times, latest, out=self.times)

    def _follow(self, rows: RowSet, now: int) -> None:
        """Rows that were not there were zero, since the frame before; those that are absent for long are forgotten."""
        times = self.times
        change = self._index.follow(
            rows, lambda absent: latest(absent & (times > now - FORGET_AFTER), times, MAX_ABSENT_ROWS)
        )
        if change is not None:
            self.values = change.of(self.values, 0)
            self.starts = change.of(self.starts, _UNSTARTED)
            self.times = change.of(self.times, self.time)


def _increase(amounts: NDArray[Any], time: int, since: NDArray[Any]) -> Increase:
    seconds = (np.int64(time) - since.astype(np.int64)) / 1e9
    numbers = amounts.astype(np.float64)
    usable = np.isfinite(numbers) & (numbers >= 0)  # anything else is no counter's value
    return Increase(np.where(usable, numbers, 0.0), np.where(usable, np.maximum(seconds, 0.0), 0.0))
