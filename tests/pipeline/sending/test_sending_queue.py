# SPDX-License-Identifier: Apache-2.0
"""The queue in front of a sender: order, bounds, the end, and every point accounted for."""

import threading
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed_queue import DOWN, Blocking, ObservedQueue, OneByOne, soon

from ebpf_sidecar.pipeline.clock import Deadline, SystemClock
from ebpf_sidecar.pipeline.payload import Payload, SendError
from ebpf_sidecar.pipeline.testing import FakeSender, RecordedTelemetry, frame


def test_batches_arrive_in_order_and_are_counted():
    """Batches are delivered in order."""
    sender = FakeSender()
    queue = ObservedQueue(sender)
    queue.start()
    for number in range(5):
        queue.consume([frame("m", [number])])
    queue.shutdown()

    assert [f"m {number}" for number in range(5)] == sender.delivered
    assert {"sent": 5} == queue.accounting


@pytest.mark.parametrize("limit", [{"queue_size": 2}, {"queue_size": 2, "sizer": "items"}])
def test_a_full_queue_gives_up_the_oldest_batch_and_never_blocks(limit):
    """The newest cumulative values include older ones."""
    sender = Blocking()
    queue = ObservedQueue(sender, queue=limit)
    queue.start()
    queue.consume([frame("m", [0])])
    sender.entered.wait(5)
    for number in range(1, 5):
        queue.consume([frame("m", [number])])
    full = queue.size()
    sender.released.set()
    queue.shutdown()

    assert (2, 2) == (full, queue.capacity)
    assert ["m 0", "m 3", "m 4"] == sender.delivered
    assert {"sent": 3, "enqueue_failed": 2} == queue.accounting
    assert {"queue_full": 2} == queue.telemetry.drops


def test_a_queue_that_blocks_loses_nothing():
    """With ``block_on_overflow``, the receiver waits for room; the end of the service does not wait for it."""
    sender = Blocking()
    queue = ObservedQueue(sender, queue={"queue_size": 1, "block_on_overflow": True})
    queue.start()
    receiver = threading.Thread(target=lambda: [queue.consume([frame("m", [number])]) for number in range(4)])
    receiver.start()
    sender.entered.wait(5)
    receiver.join(0.05)
    waited = receiver.is_alive()
    sender.released.set()
    receiver.join(5)
    queue.shutdown()

    assert waited
    assert ["m 0", "m 1", "m 2", "m 3"] == sender.delivered
    assert {"sent": 4} == queue.accounting


def test_without_a_queue_the_caller_waits_for_the_delivery():
    """It is there when the call returns, in the same thread."""
    sender = FakeSender()
    queue = ObservedQueue(sender, queue={"enabled": False})
    queue.start()
    queue.consume([frame("m", [1])])

    assert ["m 1"] == sender.delivered
    assert {"sent": 1} == queue.accounting


def test_several_consumers_deliver_at_the_same_time():
    """A slow delivery does not keep the next batch waiting."""
    sender = Blocking()
    queue = ObservedQueue(sender, queue={"num_consumers": 2})
    queue.start()
    for number in range(2):
        queue.consume([frame("m", [number])])
    while queue.size():
        sender.entered.wait(5)
    sender.released.set()
    queue.shutdown()

    assert {"m 0", "m 1"} == {*sender.delivered}


@pytest.mark.parametrize("settings", [{"num_consumers": 8}, {"enabled": False}])
def test_batches_are_encoded_one_at_a_time_and_in_order(settings):
    """However many consumers or receivers there are: a sender that makes increases compares with what came before."""
    sender = OneByOne()
    queue = ObservedQueue(sender, queue=settings)
    first = 40 if settings.get("enabled", True) else 0
    for number in range(first):
        queue.consume([frame("m", [number])])
    queue.start()
    offering = [threading.Thread(target=queue.consume, args=([frame("m", [40 + each])],)) for each in range(8)]
    for thread in offering:
        thread.start()
    for thread in offering:
        thread.join(10)
    queue.shutdown()

    assert 1 == sender.most
    assert [*range(first)] == sender.order[:first]
    assert first + 8 == len(sender.order)
    assert {"sent": len(sender.order)} == queue.accounting


def test_what_was_encoded_before_a_failure_is_delivered():
    """Only the rest of the batch is lost."""
    queue = ObservedQueue(sender := HalfEncoding())
    queue.start()
    queue.consume([frame("m", [1, 2, 3])])
    queue.shutdown()

    assert ["m 1"] == sender.delivered
    assert {"sent": 1, "send_failed": 2} == queue.accounting
    assert {"encoding": 2} == queue.telemetry.drops


class HalfEncoding(FakeSender):
    """A sender that fails in the middle of a batch."""

    def encode(self, frames):
        yield Payload(b"m 1", 1)
        raise ValueError("no such unit")


def test_what_cannot_be_delivered_within_the_bound_is_counted_at_shutdown():
    """Shutdown waits no longer than allowed, and reports what was lost."""
    sender = Blocking()
    queue = ObservedQueue(sender)
    queue.start()
    queue.consume([frame("m", [0])])
    sender.entered.wait(5)
    queue.consume([frame("m", [1, 2, 3])])
    lost = queue.shutdown(soon())
    sender.released.set()

    assert 4 == lost
    assert {"shutdown": 4} == queue.telemetry.drops
    assert {"send_failed": 1, "enqueue_failed": 3} == queue.accounting


def test_a_delivery_that_ends_after_the_bound_is_not_counted_again():
    """Dropped points stay dropped: they are counted once."""
    sender = Blocking()
    queue = ObservedQueue(sender)
    queue.start()
    queue.consume([frame("m", [0, 1])])
    sender.entered.wait(5)
    queue.shutdown(soon())
    sender.released.set()
    sender.until(1)
    queue._consumers.join(Deadline.after(5.0, SystemClock()))

    assert {"send_failed": 2} == queue.accounting


class Stuck(RecordedTelemetry):
    """Telemetry whose log cannot be written: it waits until the test lets it go."""

    def __init__(self):
        super().__init__()
        self.reached, self.released = threading.Event(), threading.Event()

    def dropped(self, points, reason):
        self.reached.set()
        self.released.wait(10)


def test_a_log_that_blocks_does_not_hold_the_queue():
    """Reporting a loss holds no lock: others may enqueue, look, and deliver meanwhile."""
    sender = Blocking()
    queue = ObservedQueue(sender, queue={"queue_size": 1}, telemetry=Stuck())
    queue.start()
    queue.consume([frame("m", [0])])
    sender.entered.wait(5)
    queue.consume([frame("m", [1])])
    reporter = threading.Thread(target=queue.consume, args=([frame("m", [2])],))
    reporter.start()
    queue.telemetry.reached.wait(5)
    sender.released.set()
    sender.until(2)
    seen = sender.delivered
    queue.telemetry.released.set()
    reporter.join(5)
    queue.shutdown()

    assert ["m 0", "m 2"] == seen


def test_an_offer_after_shutdown_is_counted():
    """Nothing vanishes without a number."""
    queue = ObservedQueue(FakeSender())
    queue.start()
    queue.shutdown()
    queue.consume([frame("m", [1])])

    assert {"enqueue_failed": 1} == queue.accounting


class Ordered(FakeSender):
    """A back end that handles each payload as the test decides, once it has decided."""

    def __init__(self):
        super().__init__()
        self.orders = SimpleQueue()

    def send(self, payload):
        if problem := self.orders.get(timeout=10):
            raise problem


ORDERS = {
    "deliver": None,
    "refuse": SendError("refused"),
    "retry": DOWN,
    "in part": SendError("in part", retry=True, rejected={"old": 1}, remaining=Payload(b"", 1)),
    "break": SystemExit(1),
}


def unaccounted(queue, offered):
    """How many points are unaccounted for at this time."""
    with queue._changed:
        assert (0, offered) == (queue.balance().difference, queue.balance().offered)
        return offered - sum(queue.accounting.values()) - queue.queued_points()


@given(st.lists(st.one_of(st.integers(0, 5), st.sampled_from(sorted(ORDERS))), max_size=20), st.integers(1, 3))
def test_every_offered_point_is_always_sent_failed_dropped_or_queued(steps, capacity):
    """Conservation: with a batch in flight, across retries, at the end, and when a delivery ends after the end."""
    sender, offered = Ordered(), 0
    queue = ObservedQueue(sender, queue={"queue_size": capacity}, initial_interval="1ms")
    queue.start()
    for step in steps:
        if step in ORDERS:
            sender.orders.put(ORDERS[step])
        else:
            queue.consume([frame("m", list(range(step)))])
            offered += step

        assert 0 == unaccounted(queue, offered)
    queue.shutdown(soon())

    assert (0, 0) == (unaccounted(queue, offered), queue.queued_points())
    for _ in range(2):
        sender.orders.put(None)  # what was in flight is delivered after all
    queue._consumers.join(Deadline.after(5.0, SystemClock()))

    assert 0 == unaccounted(queue, offered)
    assert offered == queue.accounting["sent"] + sum(queue.telemetry.drops.values())
