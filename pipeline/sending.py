# SPDX-License-Identifier: Apache-2.0
"""The last stretch to an exporter: a bounded queue of its own, drained by a thread of its own.

A slow or dead exporter therefore never blocks a receiver or another exporter. When the queue is full the *oldest* batch
is given up, because the frames are cumulative: a newer batch tells everything an older one did.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from .clock import Clock
from .component import Exporter, Telemetry
from .errors import ExportError
from .frame import Frames, points
from .settings import Interval, Settings


class QueueSettings(Settings):
    """The queue in front of an exporter (``sending_queue`` in every exporter's section)."""

    queue_size: int = Field(default=64, ge=1)
    """How many batches (one per collection interval and pipeline) may wait; the oldest gives way when it is full."""
    initial_retry_interval: Interval = 1.0
    """How long to wait before a delivery that failed for the moment is tried again; doubled each time."""
    max_retry_interval: Interval = 30.0
    """The longest wait between two tries."""
    max_retry_time: Interval = 300.0
    """How long a batch is tried in all before it is counted as failed."""


class Accounting(Protocol):
    """Where deliveries are counted, in data points."""

    def sent(self, points: int) -> None:
        """Delivered."""
        ...

    def send_failed(self, points: int) -> None:
        """Refused for good by the exporter or its back end."""
        ...

    def enqueue_failed(self, points: int) -> None:
        """Given up because the queue was full or closed."""
        ...


@dataclass
class SendingQueue:
    """Hands batches to ``exporter`` one at a time, in order, from its own thread."""

    name: str
    exporter: Exporter
    settings: QueueSettings
    accounting: Accounting
    telemetry: Telemetry
    clock: Clock
    _waiting: deque[Frames] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _expired: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._thread = threading.Thread(target=self._run, name=f"exporter {self.name}", daemon=True)
        self._thread.start()

    def offer(self, frames: Frames) -> None:
        """Take a batch for delivery; never blocks and never raises."""
        with self._changed:
            if self._stopped.is_set():
                self._given_up(frames, "shutdown")
                return
            if len(self._waiting) >= self.settings.queue_size:
                self._given_up(self._waiting.popleft(), "queue_full")
            self._waiting.append(frames)
            self._changed.notify()

    def size(self) -> int:
        """Batches waiting now."""
        return len(self._waiting)

    def shutdown(self, seconds: float = 5.0) -> None:
        """Take nothing more, deliver what waits for at most ``seconds``, count the rest as dropped."""
        with self._changed:
            self._stopped.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        self._expired.set()
        with self._changed:
            while self._waiting:
                self._given_up(self._waiting.popleft(), "shutdown")

    def _given_up(self, frames: Frames, reason: str) -> None:
        lost = points(frames)
        self.accounting.enqueue_failed(lost)
        self.telemetry.dropped(lost, reason)

    def _run(self) -> None:
        while (frames := self._next()) is not None:
            self._deliver(frames)

    def _next(self) -> Frames | None:
        with self._changed:
            while not self._waiting:
                if self._stopped.is_set():
                    return None
                self._changed.wait()
            return self._waiting.popleft()

    def _deliver(self, frames: Frames) -> None:
        wait, give_up = self.settings.initial_retry_interval, self.clock.monotonic() + self.settings.max_retry_time
        while not self._attempt(frames):
            stopped = self._expired.is_set() or self.clock.wait(self._stopped, wait)
            if stopped or self.clock.monotonic() >= give_up:
                self.accounting.send_failed(points(frames))
                self.telemetry.dropped(points(frames), "shutdown" if stopped else "max_retry_time")
                return
            wait = min(2 * wait, self.settings.max_retry_interval)

    def _attempt(self, frames: Frames) -> bool:
        """Whether nothing is left to do: delivered, or failed for good."""
        try:
            self.exporter.export(frames)
        except ExportError as problem:
            self.telemetry.error("sending", problem)
            if problem.retry:
                return False
            self.accounting.send_failed(points(frames))
        except Exception as problem:  # noqa: BLE001 # an exporter of a plugin may fail in any way; others must go on
            self.telemetry.error("sending", problem)
            self.accounting.send_failed(points(frames))
        else:
            self.accounting.sent(points(frames))
            self.telemetry.recovered("sending")
        return True
