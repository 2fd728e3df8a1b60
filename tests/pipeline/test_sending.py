# SPDX-License-Identifier: Apache-2.0
"""The queue in front of an exporter: order, bounds, retries, and every point accounted for."""

import threading
from collections import Counter
from queue import SimpleQueue

from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.clock import Deadline, SystemClock
from ebpf_sidecar.pipeline.errors import ExportError
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


def soon():
    """The end of a wait that is to be short."""
    return Deadline.after(0.002, SystemClock())


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
    lost = queue.shutdown(soon())
    exporter.released.set()

    assert 4 == lost
    assert {"shutdown": 4} == queue.telemetry.drops
    assert {"send_failed": 1, "enqueue_failed": 3} == queue.accounting


def test_a_delivery_that_ends_after_the_bound_is_not_counted_again():
    """What was given up stays given up: the account is closed once."""
    exporter = Blocking()
    queue = queue_to(exporter)
    queue.start()
    queue.offer([frame("m", [0, 1])])
    exporter.entered.wait(5)
    queue.shutdown(soon())
    exporter.released.set()
    exporter.until(1)
    queue._thread.join(5)

    assert {"send_failed": 2} == queue.accounting


def test_a_stopped_queue_tries_once_more_what_had_failed_for_the_moment():
    """A back end that has come back gets the last values; one that has not does not hold the service up."""
    for problems, expected in ((1, {"sent": 1}), (9, {"send_failed": 1})):
        sink, clock = Sink([ExportError("unavailable", retry=True)] * problems), FakeClock()
        queue = queue_to(sink, clock)
        queue.start()
        queue.offer([frame("m", [1])])
        clock.until_waiting()
        queue.shutdown()

        assert expected == queue.accounting


def test_an_exporter_that_ends_its_thread_loses_that_batch_alone():
    """sys.exit in a plugin is a failure as any other."""
    queue = queue_to(Sink([SystemExit(3)]))
    queue.start()
    for number in range(2):
        queue.offer([frame("m", [number])])
    queue.shutdown()

    assert {"sent": 1, "send_failed": 1} == queue.accounting
    assert {"refused": 1} == queue.telemetry.drops


def test_what_an_exporter_leaves_out_is_not_sent():
    """It reports the reason itself, and no point counts twice; nonsense counts as nothing left out."""
    for answer, expected in ((2, {"sent": 1, "send_failed": 2}), (9, {"send_failed": 3}), ("all", {"sent": 3})):
        exporter = Sink()
        exporter.export = lambda frames, answer=answer: answer
        queue = queue_to(exporter)
        queue.start()
        queue.offer([frame("m", [1, 2, 3])])
        queue.shutdown()

        assert expected == queue.accounting
        assert {} == queue.telemetry.drops


class Stuck(RecordedTelemetry):
    """Telemetry whose log cannot be written: it waits until the test lets it go."""

    def __init__(self):
        super().__init__()
        self.reached, self.released = threading.Event(), threading.Event()

    def dropped(self, points, reason):
        self.reached.set()
        self.released.wait(10)


def test_a_log_that_blocks_does_not_hold_the_queue():
    """Who reports a loss holds no lock: others offer, look, and deliver meanwhile."""
    exporter = Blocking()
    queue = queue_to(exporter, queue_size=1)
    queue.telemetry = Stuck()
    queue.start()
    queue.offer([frame("m", [0])])
    exporter.entered.wait(5)
    queue.offer([frame("m", [1])])
    reporter = threading.Thread(target=queue.offer, args=([frame("m", [2])],))
    reporter.start()
    queue.telemetry.reached.wait(5)
    exporter.released.set()
    exporter.until(2)
    seen = [int(kept.values[0]) for kept in exporter.frames]
    queue.telemetry.released.set()
    reporter.join(5)
    queue.shutdown()

    assert [0, 2] == seen


def test_an_offer_after_shutdown_is_counted():
    """Nothing vanishes without a number."""
    queue = queue_to(Sink())
    queue.start()
    queue.shutdown()
    queue.offer([frame("m", [1])])

    assert {"enqueue_failed": 1} == queue.accounting


class Ordered(Sink):
    """An exporter that treats one batch after the other as the test orders, once it has."""

    def __init__(self):
        super().__init__()
        self.orders = SimpleQueue()

    def export(self, frames):
        if problem := self.orders.get(timeout=10):
            raise problem


ORDERS = {
    "deliver": None,
    "refuse": ExportError("refused", retry=False),
    "retry": ExportError("unavailable", retry=True),
    "break": SystemExit(1),
}


def unaccounted(queue, offered):
    """How many points are nowhere, at one moment."""
    with queue._changed:
        return offered - sum(queue.accounting.values()) - queue.queued_points()


@given(st.lists(st.one_of(st.integers(0, 5), st.sampled_from(sorted(ORDERS))), max_size=20), st.integers(1, 3))
def test_every_offered_point_is_sent_failed_given_up_or_queued_at_every_moment(steps, capacity):
    """Conservation: with a batch in flight, across retries, at the end, and when a delivery ends after the end."""
    exporter, offered = Ordered(), 0
    queue = queue_to(exporter, queue_size=capacity, initial_retry_interval="1ms")
    queue.start()
    for step in steps:
        if step in ORDERS:
            exporter.orders.put(ORDERS[step])
        else:
            queue.offer([frame("m", list(range(step)))])
            offered += step

        assert 0 == unaccounted(queue, offered)
    queue.shutdown(soon())

    assert (0, 0) == (unaccounted(queue, offered), queue.queued_points())
    exporter.orders.put(None)  # what was in flight is delivered after all
    queue._thread.join(5)

    assert 0 == unaccounted(queue, offered)
    assert offered == queue.accounting["sent"] + sum(queue.telemetry.drops.values())
