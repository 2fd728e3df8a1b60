# SPDX-License-Identifier: Apache-2.0
"""The last stretch to an exporter: a bounded queue of its own, drained by a thread of its own.

A slow or dead exporter therefore never blocks a receiver or another exporter. When the queue is full the *oldest* batch
is given up, because the frames are cumulative: a newer batch tells everything an older one did.

A batch belongs to the queue until it is settled: delivered, failed, or given up. It is counted at that moment, once,
while the queue is locked, so that at every moment offered == sent + send_failed + enqueue_failed + `queued_points`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

from pydantic import Field, model_validator

from .clock import Clock, Deadline
from .component import Exporter, Telemetry
from .errors import ExportError
from .frame import Frames, points
from .settings import Interval, Settings, format_duration

SHUTDOWN = "shutdown"


class QueueSettings(Settings):
    """The queue in front of an exporter (``sending_queue`` in every exporter's section)."""

    queue_size: int = Field(default=64, ge=1, le=1_000_000)
    """How many batches (one per collection interval and pipeline) may wait; the oldest gives way when it is full."""
    initial_retry_interval: Interval = 1.0
    """How long to wait before a delivery that failed for the moment is tried again; doubled each time."""
    max_retry_interval: Interval = 30.0
    """The longest wait between two tries."""
    max_retry_time: Interval = 300.0
    """How long a batch is tried in all before it is counted as failed."""

    @model_validator(mode="after")
    def _first_wait_is_not_the_longest(self) -> Self:
        first, longest = format_duration(self.initial_retry_interval), format_duration(self.max_retry_interval)
        if self.initial_retry_interval > self.max_retry_interval:
            above = f'initial_retry_interval "{first}" is above max_retry_interval "{longest}"'
            raise ValueError(f"{above}; lower it, or raise max_retry_interval")
        return self


class Accounting(Protocol):
    """Where deliveries are counted, in data points. Called with the queue locked: must neither block nor log."""

    def sent(self, points: int) -> None:
        """Delivered."""
        ...

    def send_failed(self, points: int) -> None:
        """Refused for good by the exporter or its back end, or tried in vain."""
        ...

    def enqueue_failed(self, points: int) -> None:
        """Given up before the exporter saw them, because the queue was full or closed."""
        ...


Count = Callable[[int], None]


@dataclass
class SendingQueue:
    """Hands batches to ``exporter`` one at a time, in order, from its own thread."""

    name: str
    exporter: Exporter
    settings: QueueSettings
    accounting: Accounting
    telemetry: Telemetry
    clock: Clock
    lost: int = 0
    """Points that were given up because the queue was shut down."""
    _waiting: deque[Frames] = field(default_factory=deque)
    _in_flight: Frames | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to deliver."""
        self._thread = threading.Thread(target=self._run, name=f"exporter {self.name}", daemon=True)
        self._thread.start()

    def offer(self, frames: Frames) -> None:
        """Take a batch for delivery; never blocks and never raises."""
        with self._changed:
            stopped, given_up = self._stopped.is_set(), frames
            if not stopped:
                full = len(self._waiting) >= self.settings.queue_size
                given_up = self._waiting.popleft() if full else ()
                self._waiting.append(frames)
                self._changed.notify()
            lost = self._count(points(given_up), self.accounting.enqueue_failed, stopped)
        self._report(lost, SHUTDOWN if stopped else "queue_full")

    def size(self) -> int:
        """Batches waiting now; the one in flight is none of them."""
        return len(self._waiting)

    def queued_points(self) -> int:
        """Data points that are not settled yet: those waiting, and those in flight."""
        with self._changed:
            return sum(map(points, self._waiting)) + points(self._in_flight or ())

    def close(self) -> None:
        """Take nothing more, and go on delivering what waits."""
        with self._changed:
            self._stopped.set()
            self._changed.notify()

    def shutdown(self, deadline: Deadline | None = None) -> int:
        """Take nothing more, deliver what waits until ``deadline`` (five seconds), count the rest as dropped.

        Returns how many points were given up. A delivery that ends after that is not counted again.
        """
        deadline = deadline or Deadline.after(5.0, self.clock)
        self.close()
        if self._thread is not None:
            self._thread.join(deadline.left())
        with self._changed:
            lost = self._count(points(self._in_flight or ()), self.accounting.send_failed, shutdown=True)
            self._in_flight = None
            while self._waiting:
                lost += self._count(points(self._waiting.popleft()), self.accounting.enqueue_failed, shutdown=True)
        self._report(lost, SHUTDOWN)
        return self.lost

    def _report(self, lost: int, reason: str) -> None:
        """Not while the queue is locked: this may log, and a log may block."""
        if lost:
            self.telemetry.dropped(lost, reason)

    def _count(self, number: int, count: Count, shutdown: bool = False) -> int:  # noqa: FBT001, FBT002 # one of two ends
        """Count points that leave the queue, which is locked."""
        if number:
            count(number)
        self.lost += number if shutdown else 0
        return number

    def _run(self) -> None:
        while (frames := self._next()) is not None:
            self._deliver(frames)

    def _next(self) -> Frames | None:
        with self._changed:
            while not self._waiting:
                if self._stopped.is_set():
                    return None
                self._changed.wait()
            self._in_flight = self._waiting.popleft()
            return self._in_flight

    def _deliver(self, frames: Frames) -> None:
        """Try until the batch is settled; once more, and no longer, after the queue was stopped."""
        wait, give_up = self.settings.initial_retry_interval, self.clock.monotonic() + self.settings.max_retry_time
        last = self._stopped.is_set()
        while not self._attempt(frames):
            if last or self.clock.monotonic() >= give_up:
                self._settle(points(frames), SHUTDOWN if last else "max_retry_time")
                return
            last = self.clock.wait(self._stopped, wait)
            wait = min(2 * wait, self.settings.max_retry_interval)

    def _attempt(self, frames: Frames) -> bool:
        """Whether nothing is left to do: delivered, or failed for good."""
        try:
            left_out = self.exporter.export(frames)
        except ExportError as problem:
            self.telemetry.error("sending", problem)
            if problem.retry:
                return False
        except BaseException as problem:  # noqa: BLE001 # an exporter of a plugin may fail in any way, and others must go on
            self.telemetry.error("sending", problem)
        else:
            self._settle(left_out if isinstance(left_out, int) else 0)
            self.telemetry.recovered("sending")
            return True
        self._settle(points(frames), "refused")
        return True

    def _settle(self, failed: int, reason: str = "") -> None:
        """The end of the batch in flight, unless it was given up at shutdown meanwhile; ``failed`` points of it were
        not delivered, and where there is a ``reason`` nobody has reported them yet."""
        with self._changed:
            frames, self._in_flight = self._in_flight, None
            if frames is None:
                return
            number = points(frames)
            failed = max(0, min(failed, number))
            self._count(failed, self.accounting.send_failed, shutdown=reason == SHUTDOWN)
            self._count(number - failed, self.accounting.sent)
        if reason:
            self._report(failed, reason)
