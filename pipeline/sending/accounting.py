# SPDX-License-Identifier: Apache-2.0
"""Accounts for every point passed to an exporter exactly once: delivered, filtered, refused, or dropped.

At every moment: offered + restored == sent + filtered + send failed + enqueue failed + in flight + waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.payload import LeftOut

SHUTDOWN = "shutdown"
Count = Callable[[int], None]


class DeliveryCounters(Protocol):
    """Counters of deliveries, in data points. Called with a lock held: must neither block nor log."""

    def sent(self, points: int) -> None:
        """Count delivered points."""
        ...

    def filtered(self, points: int, reason: str) -> None:
        """Count points that were left out without a loss."""
        ...

    def send_failed(self, points: int) -> None:
        """Count points that were refused permanently or could not be delivered."""
        ...

    def enqueue_failed(self, points: int) -> None:
        """Count points that were dropped before the exporter got them."""
        ...

    def restored(self, points: int) -> None:
        """Count points that an earlier process left in the queue."""
        ...


@dataclass(eq=False)
class InFlightBatch:
    """A batch being delivered: how many of its points are not settled yet."""

    points: int


@dataclass
class DeliveryAccounting:
    """Counts the outcome of points, and tracks those in flight. ``changed`` guards all state."""

    counts: DeliveryCounters
    telemetry: Telemetry
    changed: threading.Condition = field(default_factory=threading.Condition)
    lost: int = 0
    """Points that were dropped because of the shutdown."""
    _in_flight: set[InFlightBatch] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        """Data points that are being delivered."""
        with self.changed:
            return sum(in_flight.points for in_flight in self._in_flight)

    def begin(self, points: int) -> InFlightBatch:
        """Start the delivery of a batch."""
        in_flight = InFlightBatch(points)
        with self.changed:
            self._in_flight.add(in_flight)
        return in_flight

    def sent(self, in_flight: InFlightBatch, points: int) -> None:
        """Count delivered points of a batch."""
        self._settle(in_flight, points, self.counts.sent)

    def failed(self, in_flight: InFlightBatch, points: int, reason: str) -> None:
        """Count undelivered points of a batch, and report them unless ``reason`` is empty."""
        settled = self._settle(in_flight, points, self.counts.send_failed, shutdown=reason == SHUTDOWN)
        if reason:
            self.report(settled, reason)

    def left_out(self, in_flight: InFlightBatch, parts: Iterable[LeftOut]) -> None:
        """Count the points of a batch that are in no payload on purpose."""
        for part in parts:
            if part.lost:
                self.failed(in_flight, part.points, part.reason)
            else:
                self._settle(in_flight, part.points, partial(self.counts.filtered, reason=part.reason))

    def finish(self, in_flight: InFlightBatch) -> None:
        """End the delivery of a batch: nobody said what became of points that are not settled."""
        self.failed(in_flight, in_flight.points, "")
        with self.changed:
            self._in_flight.discard(in_flight)

    def wait_again(self, in_flight: InFlightBatch, points: int) -> None:
        """Take points of a batch out of the flight, uncounted, since they wait. Call it with ``changed`` held."""
        in_flight.points -= points
        if in_flight.points <= 0:
            self._in_flight.discard(in_flight)

    def abandon_in_flight(self) -> int:
        """Count everything in flight as lost, whatever happens to it later; returns the number of points."""
        with self.changed:
            batches, self._in_flight = self._in_flight, set()
            number = sum(in_flight.points for in_flight in batches)
            self._count(number, self.counts.send_failed, shutdown=True)
        return number

    def abandon_queued(self, points: int, *, shutdown: bool) -> None:
        """Count queued points as lost. Call it with ``changed`` held."""
        self._count(points, self.counts.enqueue_failed, shutdown=shutdown)

    def report(self, points: int, reason: str) -> None:
        """Report lost points. Do not call it with ``changed`` held: it may log, and logging may block."""
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
