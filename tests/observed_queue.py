# SPDX-License-Identifier: Apache-2.0
"""Queues that record what happens to their batches; shared by several test files."""

import threading
import time
from collections import Counter

from ebpf_sidecar.pipeline.clock import Deadline, SystemClock
from ebpf_sidecar.pipeline.payload import SendError
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.sending.persistent_queue import PersistentQueue
from ebpf_sidecar.pipeline.sending.sending_queue import SendingQueue
from ebpf_sidecar.pipeline.testing import FakeSender, RecordedTelemetry, frame

DOWN = SendError("unavailable", retry=True)


class RecordedCounters(Counter):
    """Counts what the queue reports."""

    def __init__(self):
        super().__init__()
        self.failed, self.accepted = threading.Event(), 0

    def offered(self, points):
        self.accepted += points

    def sent(self, points):
        self["sent"] += points

    def filtered(self, points, reason):
        self[f"filtered {reason}"] += points

    def send_failed(self, points):
        self["send_failed"] += points
        self.failed.set()

    def enqueue_failed(self, points):
        self["enqueue_failed"] += points

    def restored(self, points):
        self["restored"] += points


class ObservedQueue(SendingQueue):
    """A queue that records what happens to it, and randomizes nothing."""

    def __init__(self, sender, clock=None, queue=None, telemetry=None, **retry):
        self.accounting, self.telemetry = RecordedCounters(), telemetry or RecordedTelemetry()
        settings = PushSettings(sending_queue=queue or {}, retry_on_failure=retry)
        super().__init__("test", sender, settings, self.accounting, self.telemetry, clock or SystemClock(), lambda: 0.5)


class ObservedPersistentQueue(PersistentQueue):
    """The same on disk."""

    def __init__(self, sender, storage, clock=None, queue=None, **retry):
        self.accounting, self.telemetry = RecordedCounters(), RecordedTelemetry()
        settings = PushSettings(sending_queue=queue or {}, retry_on_failure=retry)
        parts = (self.accounting, self.telemetry, clock or SystemClock(), lambda: 0.5)
        super().__init__("test", sender, settings, storage, *parts)


def started(sender, storage, **settings):
    """A running queue on disk that retries at once."""
    queue = ObservedPersistentQueue(sender, storage, **{"initial_interval": "1ms"} | settings)
    queue.start()
    return queue


def offer(queue, *numbers):
    """Batches of one point each."""
    for number in numbers:
        queue.consume([frame("m", [number])])


def soon():
    """The end of a wait that is to be short."""
    return Deadline.after(0.002, SystemClock())


class Blocking(FakeSender):
    """A back end that takes nothing until it is released."""

    def __init__(self):
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def send(self, payload):
        self.entered.set()
        self.released.wait(10)
        super().send(payload)


class OneByOne(FakeSender):
    """Notes how many of its `encode` ran at the same time at most, and the first values of batches in that order."""

    def __init__(self):
        super().__init__()
        self.most, self.order, self._inside = 0, [], 0

    def encode(self, frames):
        self._inside += 1
        self.most = max(self.most, self._inside)
        self.order.append(int(frames[0].values[0]))
        time.sleep(0.002)  # long enough for others to come in, if they may
        yield from super().encode(frames)
        self._inside -= 1
