# SPDX-License-Identifier: Apache-2.0
"""The balance of an exporter closes at every moment, whoever looks and however many threads deliver."""

import random
import sys
import threading
import time
from itertools import pairwise

import pytest
from observed_queue import DOWN, ObservedQueue, RecordedCounters, started
from stored_payloads import Folder

from ebpf_sidecar.pipeline.balance import Balance
from ebpf_sidecar.pipeline.errors import ExportError
from ebpf_sidecar.pipeline.payload import LeftOut, Payload, SendError
from ebpf_sidecar.pipeline.sending.direct_export import DirectExport
from ebpf_sidecar.pipeline.testing import FakeSender, RecordedTelemetry, frame

PRODUCERS, BATCHES = 3, 150
POINTS = 6
"""In each batch: three that are sent or fail, one that is lost, two that are filtered."""


class Moody(FakeSender):
    """A back end that takes a part, refuses, is away or breaks, by chance."""

    def __init__(self, seed):
        super().__init__(points_each=2, lost=["old"], filtered=["idle"])
        self.random = random.Random(seed)

    def send(self, payload):
        rest = Payload(b"", 1, payload.note)
        problem = self.random.choice([
            None, None, None, DOWN, SendError("no"), OSError("gone"), ValueError("bug"),
            SendError("in part", retry=True, rejected={"old": payload.points - 1}, remaining=rest),
        ])  # fmt: skip
        if problem:
            raise problem
        super().send(payload)

    def export(self, frames):
        """The same as an exporter that is called at once."""
        if self.random.random() < 0.3:
            raise ExportError("full")
        return [LeftOut(1, "unwanted", lost=True), LeftOut(2, "empty", lost=False)]


def in_memory(_folder, **queue):
    """Three consumers, and retries at once."""
    queue = ObservedQueue(Moody(1), queue={"num_consumers": 3} | queue, initial_interval="1ms")
    queue.start()
    return queue


def on_disk(folder, **queue):
    """The same with a queue on disk."""
    return started(Moody(2), Folder(folder), queue={"num_consumers": 3} | queue)


def at_once(_folder):
    """Without a queue or a thread."""
    return DirectExport(Moody(3), RecordedCounters(), RecordedTelemetry())


NODES = {
    "in memory": in_memory,
    "that gives way": lambda folder: in_memory(folder, queue_size=4),
    "that blocks": lambda folder: in_memory(folder, queue_size=4, block_on_overflow=True),
    "without a queue": lambda folder: in_memory(folder, enabled=False),
    "on disk": on_disk,
    "on disk that gives way": lambda folder: on_disk(folder, queue_size=8, sizer="items"),
    "at once": at_once,
}


LOOKS = 50


@pytest.fixture
def quickly_switching():
    """Threads change places often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quickly_switching")
@pytest.mark.parametrize("kind", NODES)
def test_the_balance_closes_at_every_moment(tmp_path, kind):
    """While batches are offered, encoded, delivered in part, retried, refused, filtered and dropped, and at the end."""
    node = NODES[kind](tmp_path)
    batch = [frame("m", [1, 2, 3]), frame("old", [4]), frame("idle", [5, 6])]
    seen = []

    def offer():
        for number in range(BATCHES):
            node.consume(batch)
            while len(seen) < number * LOOKS / BATCHES:
                time.sleep(0)  # somebody looks again and again while it goes on, however busy the machine is

    threads = [threading.Thread(target=offer) for _ in range(PRODUCERS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(node.balance())
    seen.append(node.balance())
    node.shutdown(None) if kind != "at once" else None
    seen.append(node.balance())

    assert {0} == {balance.difference for balance in seen}
    assert PRODUCERS * BATCHES * POINTS == seen[-1].offered
    assert all(before.offered <= after.offered for before, after in pairwise(seen))
    assert len(seen) > LOOKS / 2
    assert {"empty"} == set(seen[-1].filtered)
    assert 0 == seen[-1].in_flight


def test_a_sender_that_delivers_more_than_it_was_given_is_noticed(tmp_path):
    """The points of a payload are what the sender says; a queue on disk cannot know better."""

    class Boasting(FakeSender):
        def encode(self, frames):
            return [Payload(b"", 9)]

    queue = started(Boasting(), Folder(tmp_path))
    queue.consume([frame("m", [1, 2, 3])])
    queue.shutdown()

    assert -6 == queue.balance().difference


def test_what_is_missing_is_the_difference():
    """Each term counts once, on its side."""
    balance = Balance(100, 20, 60, 10, 5, {"refused": 7, "shutdown": 8}, {"empty": 9})

    assert 21 == balance.difference
    assert 0 == Balance().difference


def test_two_accounts_become_one():
    """After a reload an exporter may have two queues for a while."""
    one, other = Balance(10, 0, 4, 3, 2, {"a": 1}), Balance(5, 1, 1, 1, 1, {"a": 1, "b": 1}, {"c": 1})

    assert Balance(15, 1, 5, 4, 3, {"a": 2, "b": 1}, {"c": 1}) == one + other
    assert 0 == (one + other).difference
