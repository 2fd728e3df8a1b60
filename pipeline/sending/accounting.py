# SPDX-License-Identifier: Apache-2.0
"""Accounts for every point passed to an exporter exactly once: delivered, filtered, refused, or dropped.

At every moment: offered + restored == sent + filtered + send failed + enqueue failed + in flight + waiting.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ebpf_sidecar.pipeline.balance import Balance
from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.payload import LeftOut

SHUTDOWN = "shutdown"
UNEXPLAINED = "unexplained"
"""The reason in the balance for points that were settled without one."""
Count = Callable[[int], None]


class DeliveryCounters(Protocol):
    """Counters of deliveries, in data points. Called with a lock held: must neither block nor log."""

    def offered(self, points: int) -> None:
        """Count points that were passed to the exporter."""
        ...

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
    _offered: int = 0
    _restored: int = 0
    _delivered: int = 0
    _dropped: Counter[str] = field(default_factory=Counter)
    _filtered: Counter[str] = field(default_factory=Counter)
    _in_flight: set[InFlightBatch] = field(default_factory=set)

    @property
    def lost(self) -> int:
        """Points that were dropped because of the shutdown."""
        return self._dropped[SHUTDOWN]

    def balance(self, queued: int) -> Balance:
        """What became of all points so far, while ``queued`` points wait. Call it with ``changed`` held."""
        return Balance(
            self._offered,
            self._restored,
            self._delivered,
            queued,
            self.in_flight,
            dict(self._dropped),
            dict(self._filtered),
        )

    @property
    def in_flight(self) -> int:
        """Data points that are being delivered."""
        with self.changed:
            return sum(in_flight.points for in_flight in self._in_flight)

    def offer(self, points: int) -> None:
        """Count points that were passed to the exporter. Call it with ``changed`` held until they have a place."""
        self._offered += points
        self.counts.offered(points)

    def restore(self, points: int) -> None:
        """Count points that an earlier process left in the queue. Call it with ``changed`` held."""
        self._restored += points
        self.counts.restored(points)

    def accept(self, points: int) -> InFlightBatch:
        """Count a batch that was passed to the exporter, and start its delivery."""
        with self.changed:
            self.offer(points)
            return self.begin(points)

    def begin(self, points: int) -> InFlightBatch:
        """Start the delivery of a batch that has waited."""
        in_flight = InFlightBatch(points)
        with self.changed:
            self._in_flight.add(in_flight)
        return in_flight

    def sent(self, in_flight: InFlightBatch, points: int) -> None:
        """Count delivered points of a batch."""
        self._settle(in_flight, points, self._count_sent)

    def failed(self, in_flight: InFlightBatch, points: int, reason: str) -> None:
        """Count undelivered points of a batch, and report them unless ``reason`` is empty."""
        settled = self._settle(in_flight, points, partial(self._count_failed, reason=reason))
        if reason:
            self.report(settled, reason)

    def left_out(self, in_flight: InFlightBatch, parts: Iterable[LeftOut]) -> None:
        """Count the points of a batch that are in no payload on purpose."""
        for part in parts:
            if part.lost:
                self.failed(in_flight, part.points, part.reason)
            else:
                self._settle(in_flight, part.points, partial(self._count_filtered, reason=part.reason))

    def finish(self, in_flight: InFlightBatch) -> None:
        """End the delivery of a batch: nobody said what became of points that are not settled."""
        with self.changed:
            self.failed(in_flight, in_flight.points, "")
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
            self._count_failed(number, SHUTDOWN)
        return number

    def abandon_queued(self, points: int, reason: str) -> None:
        """Count queued points as lost. Call it with ``changed`` held."""
        if points:
            self._dropped[reason] += points
            self.counts.enqueue_failed(points)

    def report(self, points: int, reason: str) -> None:
        """Report lost points. Do not call it with ``changed`` held: it may log, and logging may block."""
        if points:
            self.telemetry.dropped(points, reason)

    def _settle(self, in_flight: InFlightBatch, points: int, count: Count) -> int:
        with self.changed:
            number = max(0, min(points, in_flight.points)) if in_flight in self._in_flight else 0
            in_flight.points -= number
            count(number)
        return number

    def _count_sent(self, points: int) -> None:
        if points:
            self._delivered += points
            self.counts.sent(points)

    def _count_failed(self, points: int, reason: str) -> None:
        if points:
            self._dropped[reason or UNEXPLAINED] += points
            self.counts.send_failed(points)

    def _count_filtered(self, points: int, reason: str) -> None:
        if points:
            self._filtered[reason] += points
            self.counts.filtered(points, reason)
