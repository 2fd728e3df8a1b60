# SPDX-License-Identifier: Apache-2.0
"""By how much counters grew since the frame before.

The rules are those of Prometheus and of the OpenTelemetry data model (cumulative to delta):

* the first batch tells nothing, there is no interval yet;
* a metric or a row that was not there in the batch before was zero then: all of its value belongs to the interval;
* a row that was away and returns goes on from where it was: up to `REMEMBERED` absent rows of a metric are kept, for
  `FORGET_AFTER`;
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
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, Frames, Kind, Temporality
from .ids import ComponentId
from .rows import RowSet
from .streams import Attendance, Origin, Stream

REMEMBERED = 100_000
FORGET_AFTER = 7200 * 10**9
"""Nanoseconds for which an absent row is remembered; longer than a receiver keeps one, whose id then never returns."""
_UNSTARTED = np.iinfo(np.int64).max
"""The start time of a row that was not seen yet: its own, once it is seen, is no restart."""
MOST_NAMES = 10_000
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
        streams = {frame.stream: moment(frame) for frame in frames}
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
            if self._seen.pop(stream, None) and len(names) <= MOST_NAMES:
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
        key, current, now = frame.stream, counts(frame), moment(frame)
        seen = self._seen.get(key)
        if seen is None or seen.values.dtype != current.dtype:
            known = seen is not None or self._returns(key)
            before = now if known else self._before.get(key.origin, now)
            self._seen[key] = _Seen.nothing(before, current)
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
        return stream.metric in names or len(names) > MOST_NAMES


def moment(frame: Frame) -> int:
    """When the frame was read, on the clock by which its intervals are measured."""
    return int(frame.time_unix_nano) if frame.monotonic_nano is None else frame.monotonic_nano


def counts(frame: Frame) -> NDArray[Any]:
    """What can only grow in a frame: values of counters, number of observations of histograms."""
    return frame.values.sum(axis=1, dtype=frame.values.dtype) if frame.kind is Kind.HISTOGRAM else frame.values


@dataclass
class _Seen:
    """The latest of every row, sorted by row id, and where in there the rows of the last frame are.

    ``time`` and ``times`` are moments (see `moment`), ``starts`` are on the wall clock. ``forgotten``: the highest id
    of a row that is remembered no more, -1 for none.
    """

    time: int
    rows: ref[RowSet]
    ids: NDArray[np.uint64]
    values: NDArray[Any]
    starts: NDArray[np.int64]
    times: NDArray[np.int64]
    positions: NDArray[np.intp]
    forgotten: int = -1

    @classmethod
    def nothing(cls, time: int, like: NDArray[Any]) -> _Seen:
        """No rows at all, as of ``time``."""
        none = np.zeros(0, np.int64)
        rows = RowSet(none.astype(np.uint64))
        return cls(time, ref(rows), rows.ids, none.astype(like.dtype), none, none, none)

    def update(self, frame: Frame, current: NDArray[Any]) -> Increase:
        """Take over a frame; the increase since the one before."""
        if frame.rows is not self.rows():
            self._make_room(frame.rows, current, moment(frame))
        at, starts = self.positions, frame.start_times().astype(np.int64)
        now = moment(frame)
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
        self.values[at], self.starts[at], self.times[at] = current, starts, now
        self.rows, self.time = ref(frame.rows), now
        return increase

    def _may_return(self, frame: Frame, since: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows are not known, but may have been before they were forgotten, and began earlier than ``since``.

        Ids are given in turn, so one that is above those that were forgotten is new.
        """
        new = self.starts[self.positions] == _UNSTARTED
        older = frame.start_times().astype(np.int64) < since
        return np.asarray(new & older & (frame.rows.ids <= np.uint64(max(0, self.forgotten))) & (self.forgotten >= 0))

    def forget_times(self, latest: int) -> None:
        """The clock was set back: nothing can have been seen later than ``latest``."""
        np.minimum(self.times, latest, out=self.times)

    def _make_room(self, rows: RowSet, current: NDArray[Any], now: int) -> None:
        """Places for rows that were not there: zero, since the frame before; and forget those that are long absent."""
        place = np.searchsorted(self.ids, rows.ids)
        there = np.append(self.ids, rows.ids[:1])[place] == rows.ids  # the appended one: where place is the end
        there &= place < len(self.ids)
        absent = np.ones(len(self.ids), np.bool_)
        absent[place[there]] = False
        kept = ~absent | _latest(self.times, absent & (self.times > now - FORGET_AFTER))
        self.forgotten = max([self.forgotten, *self.ids[~kept][-1:].tolist()])
        new = np.unique(rows.ids[~there])
        ids = np.concatenate([self.ids[kept], new])
        order = np.argsort(ids, kind="stable")
        self.ids = ids[order]
        self.values = np.concatenate([self.values[kept], np.zeros(len(new), current.dtype)])[order]
        unstarted = np.full(len(new), _UNSTARTED)
        self.starts = np.concatenate([self.starts[kept], unstarted])[order]
        self.times = np.concatenate([self.times[kept], np.full(len(new), self.time, np.int64)])[order]
        self.positions = np.searchsorted(self.ids, rows.ids)


def _latest(times: NDArray[np.int64], absent: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of these absent rows to keep: all, or those seen last when there are more than `REMEMBERED`."""
    surplus = int(absent.sum()) - REMEMBERED
    if surplus <= 0:
        return absent
    threshold = np.partition(times[absent], surplus)[surplus]
    return np.asarray(absent & (times >= threshold))


def _increase(amounts: NDArray[Any], time: int, since: NDArray[Any]) -> Increase:
    seconds = (np.int64(time) - since.astype(np.int64)) / 1e9
    numbers = amounts.astype(np.float64)
    usable = np.isfinite(numbers) & (numbers >= 0)  # anything else is no counter's value
    return Increase(np.where(usable, numbers, 0.0), np.where(usable, np.maximum(seconds, 0.0), 0.0))
