# SPDX-License-Identifier: Apache-2.0
"""How often each receiver is read: what a new reading does not hold was not measured any more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

from ...pipeline.frame import Frames
from ...pipeline.ids import ComponentId
from ...pipeline.increase import moment

SILENT_INTERVALS = 3
"""After so many intervals without a reading a receiver is silent, as for ``/health``."""
_NEVER = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest reading of a receiver.

    ``time``: when, ns since the epoch; ``since``: that of the reading before. ``moment``: the same on a clock that
    never jumps, where the receiver has one. ``exported``: monotonic seconds. ``scrapes``: how many there had been by
    then. ``interval``: seconds between readings. ``number``: counts readings, and ``batch`` the batches of one: a
    receiver in two pipelines comes twice.
    """

    time: int
    since: int
    moment: int
    exported: float
    scrapes: int
    interval: float = inf
    number: int = 0
    batch: int = 0

    def misses(self, number: int, batch: int) -> bool:
        """Whether what came in that batch of reading ``number`` would have come again by now."""
        return number < self.number - 1 or (number == self.number - 1 and batch <= self.batch)

    def is_silent(self, now: float, patience: float) -> bool:
        """Whether the next reading is overdue; after ``patience`` seconds where it is not known when it is due."""
        waits = SILENT_INTERVALS * self.interval if self.interval < inf else patience
        return now - self.exported > waits


@dataclass
class Readings:
    """The newest reading of each receiver. ``start``: a time before the first one, see `Families`."""

    start: int | None
    newest: dict[ComponentId | None, Reading] = field(default_factory=dict)
    _ended: set[ComponentId | None] = field(default_factory=set)

    def begin(self, source: ComponentId | None, batch: Frames, now: float, scrapes: int) -> Reading:
        """Note a batch of a receiver; the reading that it belongs to."""
        time, at = max(frame.time_unix_nano for frame in batch), max(map(moment, batch))
        old, first = self.newest.get(source), _NEVER if self.start is None else self.start
        if old is None:
            new = Reading(time, first, at, now, scrapes)
        elif old.time == time:
            new = replace(old, batch=old.batch + 1, exported=now, scrapes=scrapes)
        else:
            # the wall clock may have been set back
            since = _NEVER if self.start is None else min(old.time, time)
            new = Reading(time, since, at, now, scrapes, _interval(old, at), old.number + 1)
        self.newest[source] = new
        self._ended.discard(source)
        return new

    def silent(self, now: float, patience: float) -> list[ComponentId | None]:
        """Receivers that have become silent, each once; see `Reading.is_silent`."""
        silent = [source for source, reading in self.newest.items() if reading.is_silent(now, patience)]
        found = [source for source in silent if source not in self._ended]
        self._ended.update(found)
        return found


def _interval(old: Reading, at: int) -> float:
    """Seconds up to ``at``, but never suddenly much fewer than before: a late reading makes the next interval short."""
    seconds = (at - old.moment) / 1e9
    if seconds <= 0:
        return old.interval
    return seconds if old.interval == inf else max(seconds, old.interval / 2)
