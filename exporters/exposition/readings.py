# SPDX-License-Identifier: Apache-2.0
"""The readings of each receiver: whatever is missing in a new reading is no longer measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

from ebpf_sidecar.pipeline.frame import Frame, Frames
from ebpf_sidecar.pipeline.increase import reading_time
from ebpf_sidecar.pipeline.streams import Origin

SILENT_INTERVALS = 3
"""After this many intervals without a reading a receiver is silent, as in ``/health``."""
MAX_ORIGINS = 10_000
"""The number of origins whose newest reading is remembered. When one returns after it was forgotten, all of its rows
that started after the page was created count as new."""
_NEVER = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest reading of a receiver.

    ``time``: its time, ns since the epoch; ``since``: that of the previous reading. ``reading_time``: the same on the
    monotonic clock, if the receiver has one. ``exported``: monotonic seconds. ``scrapes``: how many there had been by
    then. ``interval``: seconds between readings. ``number`` counts readings, and ``batch`` the batches of one: a
    receiver in two pipelines sends two.
    """

    time: int
    since: int
    reading_time: int
    exported: float
    scrapes: int
    interval: float = inf
    number: int = 0
    batch: int = 0

    def misses(self, number: int, batch: int) -> bool:
        """Whether data from that batch of reading ``number`` should have been seen again by now."""
        return number < self.number - 1 or (number == self.number - 1 and batch <= self.batch)

    def is_silent(self, now: float, patience: float) -> bool:
        """Whether the next reading is overdue; after ``patience`` seconds if the interval is unknown."""
        waits = SILENT_INTERVALS * self.interval if self.interval < inf else patience
        return now - self.exported > waits


@dataclass
class Readings:
    """The newest reading of each receiver, or of each of its senders if it forwards data.

    ``start``: a time before the first one, see `Families`.
    """

    start: int | None
    newest: dict[Origin, Reading] = field(default_factory=dict)
    _ended: set[Origin] = field(default_factory=set)

    def begin(self, batch: Frames, now: float, scrapes: int) -> dict[Origin, Reading]:
        """Record a batch; returns the readings that it belongs to."""
        frames: dict[Origin, list[Frame]] = {}
        for frame in batch:
            frames.setdefault(frame.stream.origin, []).append(frame)
        readings = {origin: self._next(origin, each, now, scrapes) for origin, each in frames.items()}
        for origin in readings:
            self.newest.pop(origin, None)
        self.newest |= readings  # at the end: they stay in the order of their last reading
        self._ended.difference_update(readings)
        while len(self.newest) > MAX_ORIGINS:
            forgotten = next(iter(self.newest))
            del self.newest[forgotten]
            self._ended.discard(forgotten)
        return readings

    def _next(self, origin: Origin, frames: Frames, now: float, scrapes: int) -> Reading:
        time, at = max(frame.time_unix_nano for frame in frames), max(map(reading_time, frames))
        old, first = self.newest.get(origin), _NEVER if self.start is None else self.start
        if old is None:
            return Reading(time, first, at, now, scrapes)
        if old.time == time:
            return replace(old, batch=old.batch + 1, exported=now, scrapes=scrapes)
        # the wall clock may have been set back
        since = _NEVER if self.start is None else min(old.time, time)
        return Reading(time, since, at, now, scrapes, _interval(old, at), old.number + 1)

    def silent(self, now: float, patience: float) -> set[Origin]:
        """The origins that have become silent, each once; see `Reading.is_silent`."""
        silent = {origin for origin, reading in self.newest.items() if reading.is_silent(now, patience)} - self._ended
        self._ended |= silent
        return silent


def _interval(old: Reading, at: int) -> float:
    """Seconds up to ``at``, but at least half of the previous interval: a late reading shortens the next one."""
    seconds = (at - old.reading_time) / 1e9
    if seconds <= 0:
        return old.interval
    return seconds if old.interval == inf else max(seconds, old.interval / 2)
