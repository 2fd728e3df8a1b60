# SPDX-License-Identifier: Apache-2.0
"""Queued batches that are given up when memory runs out."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed_queue import Blocking, ObservedQueue

from ebpf_sidecar.pipeline.push_settings import Sizer
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.pipeline.sending.memory_queue import Batch, MemoryQueue
from ebpf_sidecar.pipeline.testing import frame

SHARED = RowSet.of([{"op": "read"}])


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=9), st.integers(0, 60), st.sampled_from(Sizer))
def test_no_batch_more_is_given_up_than_it_takes(sizes, wanted, sizer):
    """The oldest, whatever the queue is measured in; rows that other batches share are free with the last of them."""
    queue = MemoryQueue(10**6, sizer)
    put = [Batch((), size, size, {SHARED: 20} if shared else {}) for size, shared in sizes]
    for batch in put:
        queue.put(batch)
    given_up, freed = queue.shed(wanted)
    left = [queue.take() for _ in range(len(queue))]
    shared_is_free = not any(batch.rows for batch in left) and any(batch.rows for batch in given_up)

    assert put == given_up + left
    assert freed == sum(batch.bytes for batch in given_up) + 20 * shared_is_free
    assert freed >= wanted or not left
    assert not given_up or freed - given_up[-1].bytes - 20 * shared_is_free < wanted
    assert 0 == queue.size


@pytest.mark.parametrize(("wanted", "kept"), [(0, 4), (1, 3), (2, 2), (100, 0)])
def test_the_oldest_batches_can_be_given_up_for_memory(wanted, kept):
    """As many as it takes, counted as dropped; what is being delivered stays. ``wanted``: in batches, not quite."""
    sender = Blocking()
    queue = ObservedQueue(sender)
    queue.start()
    queue.consume([frame("m", [0])])
    sender.entered.wait(5)
    for number in range(1, 5):
        queue.consume([frame("m", [number])])
    size = queue.size()
    freed = queue.shed(wanted * size // 4 - bool(wanted))
    left = queue.size()
    sender.released.set()
    queue.shutdown()

    assert size == freed + left
    assert ["m 0", *(f"m {number}" for number in range(5 - kept, 5))] == sender.delivered
    assert queue.accounting == Counter(sent=1 + kept, enqueue_failed=4 - kept)
    assert queue.telemetry.drops == Counter(memory_limit=4 - kept)


def test_a_receiver_that_waits_for_room_gets_it_when_batches_are_given_up():
    """With ``block_on_overflow``."""
    sender = Blocking()
    queue = ObservedQueue(sender, queue={"queue_size": 1, "block_on_overflow": True})
    queue.start()
    queue.consume([frame("m", [0])])
    sender.entered.wait(5)
    queue.consume([frame("m", [1])])
    receiver = threading.Thread(target=queue.consume, args=([frame("m", [2])],))
    receiver.start()
    queue.shed(1)
    receiver.join(5)
    waits = receiver.is_alive()
    sender.released.set()
    queue.shutdown()

    assert not waits
    assert ["m 0", "m 2"] == sender.delivered
