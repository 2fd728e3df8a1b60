# SPDX-License-Identifier: Apache-2.0
"""The queue in front of a sender, emptied by threads of its own.

So a slow or unavailable back end never blocks a receiver or another exporter, unless configured to
(``block_on_overflow``, or no queue at all).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from ebpf_sidecar.pipeline.balance import Balance
from ebpf_sidecar.pipeline.clock import Clock, Deadline
from ebpf_sidecar.pipeline.component import Sender
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.push_settings import PushSettings

from .accounting import SHUTDOWN, DeliveryAccounting, DeliveryCounters, InFlightBatch
from .consumers import Consumers
from .delivery import Delivery
from .memory_queue import Batch, MemoryQueue

_MEMORY_LIMIT = "memory_limit"


class SendingQueue:
    """Passes batches to ``sender``, oldest first."""

    def __init__(  # noqa: PLR0917 # what a queue needs from the service, each once
        self,
        name: str,
        sender: Sender,
        settings: PushSettings,
        counts: DeliveryCounters,
        telemetry: Telemetry,
        clock: Clock,
        randomly: Callable[[], float] = random.random,
    ) -> None:
        self.name, self.component, self._settings, self._clock = name, sender, settings.sending_queue, clock
        self._waiting = MemoryQueue(self._settings.queue_size, self._settings.sizer)
        self._stopped = threading.Event()
        self._account = DeliveryAccounting(counts, telemetry)
        self._delivery = Delivery(
            sender, settings.retry_on_failure, self._account, telemetry, clock, self._stopped, randomly
        )
        self._changed = self._account.changed
        self._order = threading.Lock()
        """Held while a batch is taken and encoded: senders encode in the queue's order, one batch at a time."""
        self._consumers = Consumers(f"exporter {name}", self._run)

    def start(self) -> None:
        """Start delivering."""
        self._consumers.start(self._settings.num_consumers if self._settings.enabled else 0)

    def consume(self, frames: Frames) -> None:
        """Accept a batch for delivery; never raises, and blocks only if the settings say so."""
        batch = Batch.of(frames)
        if not self._settings.enabled:
            in_flight = self._account.accept(batch.points)
            with self._order:
                payloads = self._delivery.encode(frames, in_flight)
            self._delivery.deliver(payloads, in_flight)
            return
        with self._changed:
            while self._settings.block_on_overflow and not (self._stopped.is_set() or self._waiting.has_room(batch)):
                self._changed.wait()
            reason = SHUTDOWN if self._stopped.is_set() else "queue_full"
            self._account.offer(batch.points)
            given_up = [batch] if self._stopped.is_set() else self._waiting.put(batch)
            lost = sum(each.points for each in given_up)
            self._account.abandon_queued(lost, reason)
            self._changed.notify_all()
        self._account.report(lost, reason)

    def shed(self, wanted: int) -> int:
        """Drop the oldest batches until ``wanted`` bytes are free, or nothing waits; returns their bytes.

        Batches that are being delivered stay.
        """
        with self._changed:
            given_up, freed = self._waiting.shed(wanted)
            lost = sum(each.points for each in given_up)
            self._account.abandon_queued(lost, _MEMORY_LIMIT)
            self._changed.notify_all()
        self._account.report(lost, _MEMORY_LIMIT)
        return freed

    @property
    def lost(self) -> int:
        """Points that were dropped because of the shutdown."""
        return self._account.lost

    @property
    def capacity(self) -> int:
        """The capacity, in the unit of `size`."""
        return self._waiting.capacity

    def size(self) -> int:
        """The current size, in the unit of the settings, without batches that are being delivered."""
        return self._waiting.size

    def queued_points(self) -> int:
        """Data points that are not settled yet: queued, or being delivered."""
        with self._changed:
            return self._waiting.points + self._account.in_flight

    def balance(self) -> Balance:
        """What became of all points so far."""
        with self._changed:
            return self._account.balance(self._waiting.points)

    def close(self) -> None:
        """Accept nothing more, and continue delivering queued batches."""
        with self._changed:
            self._stopped.set()
            self._changed.notify_all()

    def shutdown(self, deadline: Deadline | None = None) -> int:
        """Accept nothing more, deliver queued batches until ``deadline`` (default: five seconds), drop the rest.

        Returns the number of dropped points. A delivery that ends later is not counted again.
        """
        deadline = deadline or Deadline.after(5.0, self._clock)
        self.close()
        self._consumers.join(deadline)
        with self._changed:
            lost = self._account.abandon_in_flight()
            waiting = self._waiting.points
            while self._waiting:
                self._waiting.take()
            self._account.abandon_queued(waiting, SHUTDOWN)
        self._account.report(lost + waiting, SHUTDOWN)
        return self.lost

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            self._delivery.deliver(*taken)

    def _next(self) -> tuple[list[Payload], InFlightBatch] | None:
        with self._order:
            taken = self._taken()
            return taken and (self._delivery.encode(taken[0].frames, taken[1]), taken[1])

    def _taken(self) -> tuple[Batch, InFlightBatch] | None:
        with self._changed:
            while not self._waiting:
                if self._stopped.is_set():
                    return None
                self._changed.wait()
            batch = self._waiting.take()
            in_flight = self._account.begin(batch.points)
            self._changed.notify_all()
            return batch, in_flight
