# SPDX-License-Identifier: Apache-2.0
"""The queue in front of an exporter: order, bounds, retries, and every point accounted for."""

import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.clock import SystemClock
from ebpf_sidecar.pipeline.errors import ExportError
from ebpf_sidecar.pipeline.frame import points
from ebpf_sidecar.pipeline.sending import QueueSettings, SendingQueue
from ebpf_sidecar.pipeline.testing import FakeClock, RecordedTelemetry, Sink, frame


class Accounts(Counter):
    """Counts what the queue reports."""

    def __init__(self):
        super().__init__()
        self.failed = threading.Event()

    def sent(self, points):
        self["sent"] += points

    def send_failed(self, points):
        self["send_failed"] += points
        self.failed.set()

    def enqueue_failed(self, points):
        self["enqueue_failed"] += points


def queue_to(exporter, clock=None, **settings):
    """A queue that records what happens to it."""
    return SendingQueue(
        "test", exporter, QueueSettings(**settings), Accounts(), RecordedTelemetry(), clock or SystemClock()
    )


class Blocking(Sink):
    """An exporter that delivers nothing until it is released."""

    def __init__(self):
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def export(self, frames):
        self.entered.set()
        self.released.wait(10)
        super().export(frames)


def test_batches_arrive_in_order_and_are_counted():
    """What is offered is delivered, first come first served."""
    sink = Sink()
    queue = queue_to(sink)
    queue.start()
    for number in range(5):
        queue.offer([frame("m", [number])])
    queue.shutdown()

    assert [0, 1, 2, 3, 4] == [int(kept.values[0]) for kept in sink.frames]
    assert {"sent": 5} == queue.accounting


def test_a_full_queue_gives_up_the_oldest_batch_and_never_blocks():
    """The newest cumulative values tell everything that older ones did."""
    exporter = Blocking()
    queue = queue_to(exporter, queue_size=2)
    queue.start()
    queue.offer([frame("m", [0])])
    exporter.entered.wait(5)
    for number in range(1, 5):
        queue.offer([frame("m", [number])])
    exporter.released.set()
    queue.shutdown()

    assert [0, 3, 4] == [int(kept.values[0]) for kept in exporter.frames]
    assert {"sent": 3, "enqueue_failed": 2} == queue.accounting
    assert {"queue_full": 2} == queue.telemetry.drops


def test_a_failure_for_the_moment_is_tried_again():
    """A batch is delivered once the back end is there again, and the recovery is said."""
    sink, clock = Sink([ExportError("unavailable", retry=True)] * 2), FakeClock()
    queue = queue_to(sink, clock, initial_retry_interval="1s")
    queue.start()
    queue.offer([frame("m", [1])])
    clock.until_waiting()
    clock.advance(1.0)
    clock.until_waiting()
    clock.advance(2.0)
    sink.until(1)
    queue.shutdown()

    assert {"sent": 1} == queue.accounting
    assert ["sending"] == queue.telemetry.recoveries


def test_a_failure_for_good_loses_that_batch_alone():
    """What a back end refuses is counted, and the next batch goes through."""
    sink = Sink([ExportError("refused", retry=False), RuntimeError("bug")])
    queue = queue_to(sink)
    queue.start()
    for number in range(3):
        queue.offer([frame("m", [number, number])])
    queue.shutdown()

    assert {"sent": 2, "send_failed": 4} == queue.accounting
    assert [("sending", "refused"), ("sending", "bug")] == queue.telemetry.errors


def test_trying_again_ends_after_max_retry_time():
    """A batch that can never be delivered does not stand in the way for ever."""
    sink, clock = Sink([ExportError("unavailable", retry=True)] * 3), FakeClock()
    queue = queue_to(sink, clock, initial_retry_interval="1s", max_retry_time="2s")
    queue.start()
    queue.offer([frame("m", [1])])
    for seconds in (1.0, 2.0):
        clock.until_waiting()
        clock.advance(seconds)
    queue.accounting.failed.wait(5)
    queue.shutdown()

    assert {"send_failed": 1} == queue.accounting
    assert {"max_retry_time": 1} == queue.telemetry.drops


def test_what_cannot_be_delivered_within_the_bound_is_counted_at_shutdown():
    """Shutting down waits no longer than it may, and says what was lost."""
    exporter = Blocking()
    queue = queue_to(exporter)
    queue.start()
    queue.offer([frame("m", [0])])
    exporter.entered.wait(5)
    queue.offer([frame("m", [1, 2, 3])])
    queue.shutdown(0.01)
    exporter.released.set()

    assert {"shutdown": 3} == queue.telemetry.drops


def test_an_offer_after_shutdown_is_counted():
    """Nothing vanishes without a number."""
    queue = queue_to(Sink())
    queue.start()
    queue.shutdown()
    queue.offer([frame("m", [1])])

    assert {"enqueue_failed": 1} == queue.accounting


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 4))
def test_every_offered_point_is_sent_failed_or_given_up(sizes, capacity):
    """Conservation: offered == sent + send_failed + enqueue_failed."""
    sink = Sink([ExportError("refused", retry=False)] * 3)
    queue = queue_to(sink, queue_size=capacity)
    queue.start()
    batches = [[frame("m", list(range(size)))] for size in sizes]
    for batch in batches:
        queue.offer(batch)
    queue.shutdown()

    assert sum(points(batch) for batch in batches) == sum(queue.accounting.values())
