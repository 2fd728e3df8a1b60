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


class Accounting(Protocol):
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
class Flight:
    """A batch on its way: how many of its points are not settled yet."""

    points: int


@dataclass
class Account:
    """Counts what becomes of the points, and knows which are in flight. ``changed``: guards all of it."""

    counts: Accounting
    telemetry: Telemetry
    changed: threading.Condition = field(default_factory=threading.Condition)
    lost: int = 0
    """Points that were given up because of the shutdown."""
    _flights: set[Flight] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        """Data points that are being delivered."""
        with self.changed:
            return sum(flight.points for flight in self._flights)

    def take_off(self, points: int) -> Flight:
        """A batch is on its way."""
        flight = Flight(points)
        with self.changed:
            self._flights.add(flight)
        return flight

    def sent(self, flight: Flight, points: int) -> None:
        """So many of a batch's points were delivered."""
        self._settle(flight, points, self.counts.sent)

    def failed(self, flight: Flight, points: int, reason: str) -> None:
        """So many of a batch's points were not delivered, and are reported here; not so with an empty ``reason``."""
        settled = self._settle(flight, points, self.counts.send_failed, shutdown=reason == SHUTDOWN)
        if reason:
            self.report(settled, reason)

    def land(self, flight: Flight) -> None:
        """A batch's way is over: points that nobody settled were left out, and reported by whoever did that."""
        self.failed(flight, flight.points, "")
        with self.changed:
            self._flights.discard(flight)

    def give_up_flights(self) -> int:
        """What is still on its way is lost, whatever becomes of it later; how many points that is."""
        with self.changed:
            flights, self._flights = self._flights, set()
            number = sum(flight.points for flight in flights)
            self._count(number, self.counts.send_failed, shutdown=True)
        return number

    def give_up(self, points: int, *, shutdown: bool) -> None:
        """Points that never set off are lost. Called while ``changed`` is held."""
        self._count(points, self.counts.enqueue_failed, shutdown=shutdown)

    def report(self, points: int, reason: str) -> None:
        """Say what was lost. Not while ``changed`` is held: this may log, and a log may block."""
        if points:
            self.telemetry.dropped(points, reason)

    def _settle(self, flight: Flight, points: int, count: Count, *, shutdown: bool = False) -> int:
        with self.changed:
            number = max(0, min(points, flight.points)) if flight in self._flights else 0
            flight.points -= number
            self._count(number, count, shutdown=shutdown)
        return number

    def _count(self, points: int, count: Count, *, shutdown: bool) -> None:
        if points:
            count(points)
        self.lost += points if shutdown else 0
