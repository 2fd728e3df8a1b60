# SPDX-License-Identifier: Apache-2.0
"""When a receiver reads: on the wall clock, which may be set, and on one that never jumps.

Times follow the wall clock, forth and back, as back ends expect of them after a correction; intervals are measured on
the monotonic clock. But a time must never be before a start time that was given out, and a start time must not move:
that would be a restart. So where the wall clock is set back to before one, times go on from where they were by the
monotonic clock, until the wall clock is past it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .clock import Clock
from .host import Telemetry

_AHEAD = "the wall clock was set back to before a start time; times go on from where they were, restart to follow it"


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment: ns since the epoch, and ns on a clock that never jumps.

    ``ahead``: of the wall clock, see above. A start time given out now must not be later than those before, or times
    would never follow the wall clock again.
    """

    time_unix_nano: int
    monotonic_nano: int
    ahead: bool = False


@dataclass
class Timeline:
    """The moments of a receiver's readings. That they do not follow the wall clock is reported in stage ``clock``."""

    clock: Clock
    telemetry: Telemetry
    _latest: Instant = Instant(0, 0)

    def now(self, newest_start: int = 0) -> Instant:
        """The present moment. ``newest_start``: the latest start time that was given out by the last moment."""
        monotonic, time = round(self.clock.monotonic() * 1e9), self.clock.time_ns()
        if ahead := time < newest_start:
            time = self._latest.time_unix_nano + monotonic - self._latest.monotonic_nano
            self.telemetry.error("clock", _AHEAD)
        else:
            self.telemetry.recovered("clock")
        self._latest = Instant(time, monotonic, ahead)
        return self._latest
