# SPDX-License-Identifier: Apache-2.0
"""How much counters have grown since the previous frame.

The rules are those of Prometheus and of the OpenTelemetry data model (cumulative to delta):

* the first batch has no increase, because there is no interval yet;
* a metric or row that was absent from the previous batch was zero then: all of its value belongs to the interval;
* a row that was absent and returns continues from its last value: up to `MAX_ABSENT_ROWS` absent rows of a metric are
  kept for `FORGET_AFTER`;
* a metric or row that was absent for so long that it was forgotten (see `Attendance`) starts over when it returns, as
  in the first batch: its old total must not be counted twice;
* a value below the previous one, or a later start time, is a restart: the increase is what was counted since, over the
  time since the start;
* intervals are measured on the monotonic clock if the receiver has one (`Frame.monotonic_nano`); otherwise a frame that
  is not later than the previous one (the wall clock was set back) has no increase, and is reported.
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
"""How long an absent row is remembered, in ns; longer than a receiver keeps a row, so its id cannot return."""
_UNSTARTED = np.iinfo(np.int64).max
"""The start time of a row that was not seen yet; its first real start time is not a restart."""
MAX_FORGOTTEN_NAMES = 10_000
"""Names of forgotten metrics that are remembered per origin; beyond that, any new metric may be a returning one."""


@dataclass(frozen=True, slots=True)
class Increase:
    """The increase in the last interval, for each row of the frame.

    ``amounts``: float64, in the metric's unit (histograms: observations), never negative. ``seconds``: float64, the
    length of the interval, 0 if unknown.
    """

    amounts: NDArray[np.float64]
    seconds: NDArray[np.float64]


class Increases:
    """Remembers the last values of each metric. ``report`` is called for frames that are out of order."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._seen: dict[Stream, _Seen] = {}
        self._latest: dict[Origin, int] = {}
        self._before: dict[Origin, int] = {}
        self._streams: Attendance[Stream] = Attendance()
        self._origins: Attendance[Origin] = Attendance()
        self._forgotten: dict[Origin, set[str]] = {}

    def batch(self, frames: Frames) -> list[Stream | Origin]:
        """Start a batch of one receiver; `of` is called next for some or all of its frames.

        Receivers omit metrics for which nothing has happened; a batch of the same origin without the metric means that
        it was zero. Returns what is forgotten from now on.
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
        """The increase of a counter or histogram since its previous frame; None if unknown."""
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
            self._report(f'"{frame.name}" was not read later than its previous frame; the interval is skipped')
            seen.forget_times(now)
            seen.update(frame, current)
            return None
        return seen.update(frame, current)

    def _returns(self, stream: Stream) -> bool:
        """Whether an unknown metric may have been counted before it was forgotten."""
        names = self._forgotten.get(stream.origin, ())
        return stream.metric in names or len(names) > MAX_FORGOTTEN_NAMES


def reading_time(frame: Frame) -> int:
    """When the frame was read, on the clock that measures its intervals."""
    return int(frame.time_unix_nano) if frame.monotonic_nano is None else frame.monotonic_nano


def counts(frame: Frame) -> NDArray[Any]:
    """The monotonic numbers of a frame: counter values, or the number of observations of histograms."""
    return frame.values.sum(axis=1, dtype=frame.values.dtype) if frame.kind is Kind.HISTOGRAM else frame.values


class _Seen:
    """The latest value of every row. ``time`` and ``times``: see `reading_time`. ``starts`` are on the wall clock."""

    def __init__(self, time: int, like: NDArray[Any]) -> None:
        """No rows at all, as of ``time``."""
        self.time, self.values = time, np.zeros(0, like.dtype)
        self.starts, self.times = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._index = RowIndex()

    def update(self, frame: Frame, current: NDArray[Any]) -> Increase:
        """Store a frame; returns the increase since the previous one."""
        now = reading_time(frame)
        self._follow(frame.rows, now)
        at, starts = self._index.places, frame.start_times().astype(np.int64)
        # the row's previous reading time on today's wall clock, even if that clock was set in between
        before, since = self.values[at], frame.time_unix_nano - (now - self.times[at])
        # not only a later start: if the wall clock was set back, a restart may start before the series that it ends
        another = (starts != self.starts[at]) & (self.starts[at] != _UNSTARTED)
        restarted = (current < before) | (another & (starts >= since))
        with np.errstate(invalid="ignore"):  # infinite floats; left out below
            amounts = np.where(restarted, current, current - before)
        amounts = np.where(self._may_return(frame, since), 0, amounts)
        # only a restart inside the interval says when counting started; a new row was zero for all of it
        inside = restarted & (starts > since) & (starts < frame.time_unix_nano)
        increase = _increase(amounts, frame.time_unix_nano, np.where(inside, starts, since))
        self.values[at], self.starts[at], self.times[at], self.time = current, starts, now, now
        return increase

    def _may_return(self, frame: Frame, since: NDArray[np.int64]) -> Mask:
        """Which unknown rows may have been known before they were forgotten, and started before ``since``."""
        new = self.starts[self._index.places] == _UNSTARTED
        older = frame.start_times().astype(np.int64) < since
        return np.asarray(new & older & self._index.may_return(frame.rows.ids))

    def forget_times(self, latest: int) -> None:
        """The clock was set back: no time may be later than ``latest``."""
        np.minimum(self.times, latest, out=self.times)

    def _follow(self, rows: RowSet, now: int) -> None:
        """Add new rows, zero since the previous frame, and forget those that were absent for long."""
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
    usable = np.isfinite(numbers) & (numbers >= 0)  # anything else is not a counter value
    return Increase(np.where(usable, numbers, 0.0), np.where(usable, np.maximum(seconds, 0.0), 0.0))
