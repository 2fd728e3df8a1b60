# SPDX-License-Identifier: Apache-2.0
"""Every point that an exporter was given is settled once: delivered, refused, or given up.

At every moment: offered == sent + send failed + enqueue failed + in flight + waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ebpf_sidecar.pipeline.host import Telemetry

SHUTDOWN = "shutdown"
Count = Callable[[int], None]


class DeliveryCounters(Protocol):
    """Where deliveries are counted, in data points. Called while a lock is held: must neither block nor log."""

    def sent(self, points: int) -> None:
        """Delivered."""
        ...

    def send_failed(self, points: int) -> None:
        """Refused for good, or tried in vain."""
        ...

    def enqueue_failed(self, points: int) -> None:
        """Given up before the exporter saw them."""
        ...


@dataclass(eq=False)
class InFlightBatch:
    """A batch on its way: how many of its points are not settled yet."""

    points: int


@dataclass
class DeliveryAccounting:
    """Counts what becomes of the points, and knows which are in flight. ``changed``: guards all of it."""

    counts: DeliveryCounters
    telemetry: Telemetry
    changed: threading.Condition = field(default_factory=threading.Condition)
    lost: int = 0
    """Points that were given up because of the shutdown."""
    _in_flight: set[InFlightBatch] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        """Data points that are being delivered."""
        with self.changed:
            return sum(in_flight.points for in_flight in self._in_flight)

    def begin(self, points: int) -> InFlightBatch:
        """A batch is on its way."""
        in_flight = InFlightBatch(points)
        with self.changed:
            self._in_flight.add(in_flight)
        return in_flight

    def sent(self, in_flight: InFlightBatch, points: int) -> None:
        """So many of a batch's points were delivered."""
        self._settle(in_flight, points, self.counts.sent)

    def failed(self, in_flight: InFlightBatch, points: int, reason: str) -> None:
        """So many of a batch's points were not delivered, and are reported here; not so with an empty ``reason``."""
        settled = self._settle(in_flight, points, self.counts.send_failed, shutdown=reason == SHUTDOWN)
        if reason:
            self.report(settled, reason)

    def finish(self, in_flight: InFlightBatch) -> None:
        """A batch's way is over: points that nobody settled were left out, and reported by whoever did that."""
        self.failed(in_flight, in_flight.points, "")
        with self.changed:
            self._in_flight.discard(in_flight)

    def abandon_in_flight(self) -> int:
        """What is still on its way is lost, whatever becomes of it later; how many points that is."""
        with self.changed:
            batches, self._in_flight = self._in_flight, set()
            number = sum(in_flight.points for in_flight in batches)
            self._count(number, self.counts.send_failed, shutdown=True)
        return number

    def abandon_queued(self, points: int, *, shutdown: bool) -> None:
        """Points that never set off are lost. Called while ``changed`` is held."""
        self._count(points, self.counts.enqueue_failed, shutdown=shutdown)

    def report(self, points: int, reason: str) -> None:
        """Say what was lost. Not while ``changed`` is held: this may log, and a log may block."""
        if points:
            self.telemetry.dropped(points, reason)

    def _settle(self, in_flight: InFlightBatch, points: int, count: Count, *, shutdown: bool = False) -> int:
        with self.changed:
            number = max(0, min(points, in_flight.points)) if in_flight in self._in_flight else 0
            in_flight.points -= number
            self._count(number, count, shutdown=shutdown)
        return number

    def _count(self, points: int, count: Count, *, shutdown: bool) -> None:
        if points:
            count(points)
        self.lost += points if shutdown else 0
