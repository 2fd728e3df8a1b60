# SPDX-License-Identifier: Apache-2.0
"""The queue of a sender whose payloads wait on disk, until they are settled by this process or a later one.

A batch is encoded and stored by the thread that brings it; when `PersistentQueue.consume` returns, it is on disk. What
is delivered when the process is killed, at most one payload for each consumer, is delivered once more afterwards.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ebpf_sidecar.pipeline.balance import Balance
from ebpf_sidecar.pipeline.clock import Clock, Deadline
from ebpf_sidecar.pipeline.component import Sender
from ebpf_sidecar.pipeline.frame import Frames, points
from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.payload_store import Amount, Storage
from ebpf_sidecar.pipeline.push_settings import PushSettings

from .accounting import SHUTDOWN, DeliveryAccounting, DeliveryCounters, InFlightBatch
from .backlog import Backlog, Taken, has_room
from .consumers import Consumers
from .delivery import Delivery

_UNREADABLE_SECONDS, _CLOSING_SECONDS = 1.0, 0.2
Answer = TypeVar("Answer")


class PersistentQueue:
    """Passes payloads to ``sender``, oldest first."""

    def __init__(  # noqa: PLR0917 # what a queue needs from the service, each once
        self,
        name: str,
        sender: Sender,
        settings: PushSettings,
        storage: Storage,
        counts: DeliveryCounters,
        telemetry: Telemetry,
        clock: Clock,
        randomly: Callable[[], float] = random.random,
    ) -> None:
        self.name, self.component, self._settings, self._clock = name, sender, settings.sending_queue, clock
        self._storage, self._telemetry = storage, telemetry
        self._stopped = threading.Event()
        self._account = DeliveryAccounting(counts, telemetry)
        self._delivery = Delivery(
            sender, settings.retry_on_failure, self._account, telemetry, clock, self._stopped, randomly
        )
        self._changed = self._account.changed
        self._order = threading.Lock()
        """Held while a batch is encoded and stored: senders encode in the queue's order, one batch at a time."""
        self._turn = threading.Lock()
        """Held while the backlog is in use, as long as the disk takes; never waited for with ``_changed`` held."""
        self._backlog: Backlog | None = None
        self._waiting = Amount()
        """The backlog's amount as of the last change, for those who must not wait for a disk."""
        self._delivering: dict[Taken, InFlightBatch] = {}
        self._consumers = Consumers(f"exporter {name}", self._run)

    def start(self) -> None:
        """Take over what an earlier process left, and start delivering. Raises `SidecarError` if it cannot be read."""
        backlog = Backlog(self._storage.open_store(self.name), self._settings, self._telemetry)
        with self._changed:
            self._account.restore(backlog.waiting.points + sum(backlog.lost.values()))
            self._backlog, lost = backlog, self._publish(backlog)
        self._report(lost)
        self._consumers.start(self._settings.num_consumers)

    def consume(self, frames: Frames) -> None:
        """Store a batch; never raises. Waits for the disk, and for room only if the settings say so."""
        in_flight = self._account.accept(points(frames))
        with self._order:
            payloads = self._delivery.encode(frames, in_flight) if self._backlog else []
            self._wait_for_room(Amount.of(payloads))
            stored = self._change(
                lambda backlog: backlog.put(payloads), lambda added: self._account.wait_again(in_flight, added.points)
            )
        if stored is None:
            self._refuse(in_flight)
        self._account.finish(in_flight)

    @property
    def lost(self) -> int:
        """Points that were dropped because of the shutdown."""
        return self._account.lost

    @property
    def capacity(self) -> int:
        """The capacity, in the unit of `size`."""
        return self._settings.queue_size

    def size(self) -> int:
        """The current size, in the unit of the settings, without payloads that are being delivered."""
        return self._waiting.size(self._settings.sizer)

    def queued_points(self) -> int:
        """Data points that are not settled yet: on disk, or being delivered."""
        with self._changed:
            return self._waiting.points + self._account.in_flight

    def balance(self) -> Balance:
        """What became of all points so far; those on disk are queued."""
        with self._changed:
            return self._account.balance(self._waiting.points)

    def close(self) -> None:
        """Continue delivering until a delivery fails or nothing is left, without waiting for room or a retry."""
        with self._changed:
            self._stopped.set()
            self._changed.notify_all()

    def shutdown(self, deadline: Deadline | None = None) -> int:
        """Deliver until ``deadline`` (default: five seconds) what can be delivered, and leave the rest on disk.

        Returns the number of points that are lost, since they could not be stored.
        """
        deadline = deadline or Deadline.after(5.0, self._clock)
        self.close()
        self._consumers.join(deadline)
        self._report(self._close_backlog(deadline))
        self._account.report(self._account.abandon_in_flight(), SHUTDOWN)
        return self.lost

    def _close_backlog(self, deadline: Deadline) -> Counter[str]:
        if not self._turn.acquire(timeout=deadline.left() + _CLOSING_SECONDS):
            return Counter()  # the disk hangs: what is being delivered counts as lost, although it may be on disk
        try:
            return self._give_all_back(self._backlog) if self._backlog is not None else Counter()
        finally:
            self._turn.release()

    def _give_all_back(self, backlog: Backlog) -> Counter[str]:
        with self._changed:  # from now on, the outcome of what is being delivered is not counted
            unsettled = {taken: in_flight.points for taken, in_flight in self._delivering.items()}
            for in_flight in self._delivering.values():
                self._account.wait_again(in_flight, in_flight.points)
            self._waiting += Amount(points=sum(unsettled.values()))
            self._delivering.clear()
            self._backlog = None
        backlog.close(unsettled)
        with self._changed:
            return self._publish(backlog)

    def _change(
        self, work: Callable[[Backlog], Answer], account: Callable[[Answer], object] = lambda _: None
    ) -> Answer | None:
        """Work with the backlog, and account for it at the same moment; None after the end."""
        with self._turn:
            if self._backlog is None:
                return None
            answer = work(self._backlog)
            with self._changed:
                account(answer)
                lost = self._publish(self._backlog)
        self._report(lost)
        return answer

    def _publish(self, backlog: Backlog) -> Counter[str]:
        """Show the new amount, and count what was dropped. Call it with ``_changed`` held."""
        lost, backlog.lost = backlog.lost, Counter()
        for reason, number in lost.items():
            self._account.abandon_queued(number, reason)
        self._waiting = backlog.waiting
        self._changed.notify_all()
        return lost

    def _report(self, lost: Counter[str]) -> None:
        for reason, number in lost.items():
            self._account.report(number, reason)

    def _refuse(self, in_flight: InFlightBatch) -> None:
        """Count a batch that came after the end."""
        with self._changed:
            number = in_flight.points
            self._account.wait_again(in_flight, number)
            self._account.abandon_queued(number, SHUTDOWN)
        self._account.report(number, SHUTDOWN)

    def _wait_for_room(self, more: Amount) -> None:
        with self._changed:
            while self._settings.block_on_overflow and not has_room(self._settings, self._waiting, more):
                if self._stopped.is_set():
                    return
                self._changed.wait()

    def _run(self) -> None:
        while self._has_work():
            taken = self._change(Backlog.take, self._begin)
            if not (self._deliver(taken) if taken else self._readable()):
                return

    def _readable(self) -> bool:
        """Wait a moment if the disk cannot be read; false if that is how it ends."""
        backlog = self._backlog
        return not (backlog and backlog.unreadable and self._clock.wait(self._stopped, _UNREADABLE_SECONDS))

    def _has_work(self) -> bool:
        """Wait until something waits; false at the end."""
        with self._changed:
            while not self._waiting.payloads and not self._stopped.is_set():
                self._changed.wait()
            return self._waiting.payloads > 0 and self._backlog is not None

    def _begin(self, taken: Taken | None) -> None:
        if taken is not None:
            self._delivering[taken] = self._account.begin(taken.payload.points)

    def _deliver(self, taken: Taken) -> bool:
        """Try until the payload is settled; false if it is left to the next process."""
        with self._changed:
            in_flight = self._delivering.get(taken)
        if in_flight is None:  # the end was faster
            return False

        def shrunk(rest: Payload) -> None:
            self._change(lambda backlog: backlog.replace(taken, replace(rest, points=in_flight.points)))

        settled = self._delivery.deliver_payload(taken.payload, in_flight, shrunk)
        if settled:
            self._change(lambda backlog: backlog.settle(taken), lambda _: self._finish(taken))
        return settled

    def _finish(self, taken: Taken) -> None:
        self._account.finish(self._delivering.pop(taken))
