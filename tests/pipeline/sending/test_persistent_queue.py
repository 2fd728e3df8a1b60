# SPDX-License-Identifier: Apache-2.0
"""The queue on disk in front of a sender: what an end leaves, the next start delivers, and the ledger closes."""

import threading

import pytest
from observed_queue import DOWN, Blocking, ObservedPersistentQueue, OneByOne, offer, soon, started
from stored_payloads import MIB, Folder

from ebpf_sidecar.pipeline.payload import Payload, SendError
from ebpf_sidecar.pipeline.testing import FakeSender, frame


@pytest.fixture
def folder(tmp_path):
    """Stores in files."""
    folder = Folder(tmp_path)
    yield folder
    folder.close()


def test_batches_arrive_in_order_and_are_counted(folder):
    """As with the queue in memory, and nothing is left on disk."""
    sender = FakeSender()
    queue = started(sender, folder)
    offer(queue, *range(5))
    lost = queue.shutdown()

    assert [f"m {number}" for number in range(5)] == sender.delivered
    assert {"sent": 5, "restored": 0} == queue.accounting
    assert (0, 0, 0) == (lost, queue.size(), queue.queued_points())


def test_what_could_not_be_delivered_waits_for_the_next_process_and_is_not_lost(folder):
    """With the same bytes, oldest first; the ledgers of both close."""
    down, up = FakeSender([DOWN] * 99, points_each=2), FakeSender()
    before = started(down, folder, initial_interval="10s")
    before.consume([frame("m", [1, 2, 3])])
    offer(before, 4)
    lost = before.shutdown()
    after = started(up, folder)
    up.until(3)
    after.shutdown()

    assert (0, 4) == (lost, before.queued_points())
    assert {"restored": 0} == before.accounting
    assert {"restored": 4, "sent": 4} == after.accounting
    assert ["m 1", "m 2", "m 3", "m 4"] == up.delivered
    assert [{"kind": "text"}] * 3 == [payload.note for payload in up.payloads]
    assert 0 == up.encoded


def test_a_delivery_that_hangs_at_the_end_is_left_on_disk(folder):
    """It may arrive twice, but is counted once in each process."""
    sender, again = Blocking(), FakeSender()
    before = started(sender, folder)
    offer(before, 1, 2)
    sender.entered.wait(5)
    lost = before.shutdown(soon())
    sender.released.set()
    sender.until(1)
    after = started(again, folder)
    again.until(2)
    after.shutdown()

    assert (0, 2) == (lost, before.queued_points())
    assert {"restored": 0} == before.accounting
    assert {"restored": 2, "sent": 2} == after.accounting
    assert (["m 1"], ["m 1", "m 2"]) == (sender.delivered, again.delivered)


class EndsInBetween(FakeSender):
    """A back end that takes a payload whose delivery is noted only after the end of the queue."""

    def __init__(self):
        super().__init__()
        self.counted, self.ended = threading.Event(), threading.Event()


def test_what_was_counted_as_delivered_at_the_end_does_not_wait(folder):
    """The end comes between the count and the removal from the disk."""
    sender = EndsInBetween()
    queue = started(sender, folder)
    recovered = queue.telemetry.recovered

    def waiting(stage):
        recovered(stage)
        if stage == "sending":
            sender.counted.set()
            sender.ended.wait(5)

    queue.telemetry.recovered = waiting
    offer(queue, 1)
    sender.counted.wait(5)
    queue.shutdown(soon())
    sender.ended.set()
    after = started(FakeSender(), folder)
    after.shutdown()

    assert ({"sent": 1, "restored": 0}, 0) == (queue.accounting, queue.queued_points())
    assert {"restored": 0} == after.accounting


def test_of_a_payload_that_was_taken_in_part_only_the_rest_is_kept(folder):
    """What was delivered or refused before is not sent by the next process either."""
    problem = SendError("in part", retry=True, rejected={"old": 1}, remaining=Payload(b"m 3", 1))
    before = started(FakeSender([problem, *[DOWN] * 99]), folder, initial_interval="10s")
    before.consume([frame("m", [1, 2, 3])])
    before.accounting.failed.wait(5)
    before.shutdown()
    sender = FakeSender()
    after = started(sender, folder)
    sender.until(1)
    after.shutdown()

    assert {"restored": 0, "sent": 1, "send_failed": 1} == before.accounting
    assert {"restored": 1, "sent": 1} == after.accounting
    assert ["m 3"] == sender.delivered


def test_several_consumers_deliver_at_the_same_time_and_nothing_twice(folder):
    """And batches are encoded one at a time, whoever brings them."""
    sender = OneByOne()
    queue = started(sender, folder, queue={"num_consumers": 5})
    threads = [threading.Thread(target=offer, args=(queue, *range(each, 60, 6))) for each in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    queue.shutdown()

    assert sorted(f"m {number}" for number in range(60)) == sorted(sender.delivered)
    assert 1 == sender.most
    assert {"sent": 60, "restored": 0} == queue.accounting


@pytest.mark.parametrize("limit", [{"queue_size": 2}, {"queue_size": 2, "sizer": "items"}, {"queue_size": "28B"}])
def test_a_full_queue_gives_up_the_oldest_payload_and_never_blocks(folder, limit):
    """Also where it was filled by an earlier process."""
    sender, full = Blocking(), []
    queue = started(sender, folder, queue=limit)
    offer(queue, 0)
    sender.entered.wait(5)
    for number in range(1, 5):
        offer(queue, number)
        full.append(queue.size())
    queue.shutdown(soon())
    sender.released.set()
    after = FakeSender()
    again = started(after, folder)
    after.until(3)
    again.shutdown()

    assert queue.capacity >= max(full)
    assert {"enqueue_failed": 2, "restored": 0} == queue.accounting
    assert {"queue_full": 2} == queue.telemetry.drops
    assert ["m 0", "m 3", "m 4"] == after.delivered


def test_a_queue_that_blocks_waits_for_room_but_not_at_the_end(folder):
    """Then what is waiting is stored all the same."""
    sender = Blocking()
    queue = started(sender, folder, queue={"queue_size": 1, "block_on_overflow": True})
    receiver = threading.Thread(target=offer, args=(queue, 0, 1, 2))
    receiver.start()
    sender.entered.wait(5)
    receiver.join(0.1)
    waited = receiver.is_alive()
    queue.close()
    receiver.join(5)
    lost = queue.shutdown(soon())
    sender.released.set()

    assert waited
    assert not receiver.is_alive()
    assert (0, 3) == (lost, queue.queued_points())


def test_an_offer_after_the_end_is_counted(folder):
    """Nothing vanishes without a number."""
    queue = started(FakeSender(), folder)
    queue.shutdown()
    offer(queue, 1)

    assert {"enqueue_failed": 1, "restored": 0} == queue.accounting
    assert {"shutdown": 1} == queue.telemetry.drops


def test_a_failure_for_good_is_forgotten_on_disk_too(folder):
    """Or the next process would try it again."""
    queue = started(FakeSender([SendError("refused")]), folder)
    offer(queue, 1, 2)
    queue.shutdown()

    assert {"restored": 0, "sent": 1, "send_failed": 1} == queue.accounting
    assert 0 == started(FakeSender(), folder)._waiting.payloads


def test_without_a_start_the_end_is_quiet(folder):
    """As when another component kept the service from starting."""
    queue = ObservedPersistentQueue(FakeSender(), folder)

    assert 0 == queue.shutdown(soon())


def test_a_large_batch_is_taken_even_by_a_small_queue(folder):
    """An empty queue accepts a batch of any size, as in memory."""
    sender = FakeSender()
    queue = started(sender, folder, queue={"queue_size": "1B"})
    queue.consume([frame("m", list(range(MIB // 16)))])
    queue.shutdown()

    assert MIB // 16 == queue.accounting["sent"]
