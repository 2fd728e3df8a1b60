# SPDX-License-Identifier: Apache-2.0
"""When a receiver reads: on the wall clock, which may be set, and on the monotonic clock.

Times follow the wall clock forward and back, as back ends expect after a correction; intervals are measured on the
monotonic clock. But a time must never be before a start time that was already exported, and a start time must not
change: that would be a restart. So if the wall clock is set back to before a start time, times continue on the
monotonic clock until the wall clock has passed it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .clock import Clock
from .host import Telemetry

_AHEAD = "the wall clock was set back to before a start time; times continue without it, restart to follow it"


@dataclass(frozen=True, slots=True)
class Instant:
    """A point in time: ns since the epoch, and ns on the monotonic clock.

    ``ahead``: it is ahead of the wall clock, see above. New start times must then not be later than earlier ones, or
    times would never follow the wall clock again.
    """

    time_unix_nano: int
    monotonic_nano: int
    ahead: bool = False


@dataclass
class Timeline:
    """The times of a receiver's readings. If they cannot follow the wall clock, stage ``clock`` reports an error."""

    clock: Clock
    telemetry: Telemetry
    _latest: Instant = Instant(0, 0)

    def now(self, newest_start: int = 0) -> Instant:
        """The current time. ``newest_start``: the latest start time that was exported so far."""
        monotonic, time = round(self.clock.monotonic() * 1e9), self.clock.time_ns()
        if ahead := time < newest_start:
            time = self._latest.time_unix_nano + monotonic - self._latest.monotonic_nano
            self.telemetry.error("clock", _AHEAD)
        else:
            self.telemetry.recovered("clock")
        self._latest = Instant(time, monotonic, ahead)
        return self._latest
