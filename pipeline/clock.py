# SPDX-License-Identifier: Apache-2.0
"""Time as a dependency, so that tests need not wait for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The operations that the product needs from a clock."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def time_ns(self) -> int:
        """Wall-clock nanoseconds since the epoch; may jump either way."""
        ...

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Wait for ``seconds`` or until ``stopped`` is set; true when it was set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def time_ns(self) -> int:
        """Wall-clock nanoseconds since the epoch."""
        return time.time_ns()

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Wait for ``seconds`` or until ``stopped`` is set; true when it was set."""
        return stopped.wait(max(0.0, seconds))


def utc(seconds: float) -> str:
    """``2026-11-23T04:05:06.789Z``, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time by which something must be done, however many steps share it."""

    clock: Clock
    at: float
    """Monotonic seconds."""

    @classmethod
    def after(cls, seconds: float, clock: Clock) -> Deadline:
        """``seconds`` from now."""
        return cls(clock, clock.monotonic() + seconds)

    def earlier(self, seconds: float) -> Deadline:
        """The deadline ``seconds`` earlier."""
        return Deadline(self.clock, self.at - seconds)

    def left(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at - self.clock.monotonic())
