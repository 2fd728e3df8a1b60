# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, hang, or cannot be read, below the queue of a sender."""

import threading
import time

import pytest
from observed_queue import Blocking, ObservedPersistentQueue, offer, soon, started
from stored_payloads import DISK_FULL, Folder, Unreliable

from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.testing import FakeClock, FakeSender


def test_while_the_disk_is_full_the_queue_works_in_memory_and_later_on_disk_again(tmp_path):
    """Delivered in order; what was in memory is on disk as soon as there is room, and reported once."""
    folder, sender = Unreliable(tmp_path), Blocking()
    queue = started(sender, folder)
    offer(queue, 0)
    sender.entered.wait(5)
    folder.last.failing = dict(DISK_FULL)
    offer(queue, 1, 2)
    in_memory = queue._backlog.store.amount(0).payloads
    folder.last.failing = {}
    offer(queue, 3)
    on_disk = queue._backlog.store.amount(0).payloads
    sender.released.set()
    queue.shutdown()

    assert (1, 4) == (in_memory, on_disk)
    assert ["m 0", "m 1", "m 2", "m 3"] == sender.delivered
    assert {"sent": 4, "restored": 0} == queue.accounting
    assert [("storage", "no luck with add")] * 2 == queue.telemetry.errors
    assert "storage" == [each for each in queue.telemetry.recoveries if each == "storage"][-1]


def test_what_is_still_in_memory_at_the_end_is_lost_and_counted(tmp_path):
    """While the disk stays full."""
    folder, sender = Unreliable(tmp_path), Blocking()
    queue = started(sender, folder)
    folder.last.failing = dict(DISK_FULL)
    offer(queue, 0)
    sender.entered.wait(5)
    offer(queue, 1, 2)
    lost = queue.shutdown(soon())
    sender.released.set()

    assert 3 == lost
    assert {"shutdown": 3} == queue.telemetry.drops
    assert 0 == queue.queued_points()


def test_a_disk_that_cannot_be_read_is_asked_again(tmp_path):
    """Each second, with an error for each attempt."""
    folder, sender, clock = Unreliable(tmp_path), FakeSender(), FakeClock()
    queue = ObservedPersistentQueue(sender, folder, clock)
    queue.start()
    folder.last.failing = {"oldest": "storage_error"}
    offer(queue, 1)
    clock.until_waiting()
    folder.last.failing = {}
    clock.advance(1.0)
    sender.until(1)
    queue.shutdown()

    assert {"sent": 1, "restored": 0} == queue.accounting
    assert ("storage", "no luck with oldest") in queue.telemetry.errors


class Hanging(Folder):
    """A disk that answers when the test lets it."""

    def __init__(self, path):
        super().__init__(path)
        self.entered, self.released = threading.Event(), threading.Event()

    def open_store(self, name):
        store = super().open_store(name)
        add = store.add

        def waiting(*arguments):
            self.entered.set()
            self.released.wait(10)
            add(*arguments)

        store.add = waiting
        return store


def test_a_disk_that_hangs_does_not_keep_the_service_from_ending(tmp_path):
    """The gauges answer meanwhile; what was on its way to the disk counts as lost."""
    folder = Hanging(tmp_path)
    queue = started(FakeSender(), folder)
    receiver = threading.Thread(target=offer, args=(queue, 1))
    receiver.start()
    folder.entered.wait(5)
    seen, began = (queue.size(), queue.queued_points()), time.monotonic()
    lost = queue.shutdown(soon())
    took = time.monotonic() - began
    folder.released.set()
    receiver.join(5)

    assert (0, 1) == seen
    assert 1 == lost
    assert took < 2


def test_a_store_that_cannot_be_opened_keeps_the_service_from_starting(tmp_path):
    """With its name."""
    (tmp_path / "test").mkdir()

    with pytest.raises(SidecarError, match="test: unable to open database file"):
        started(FakeSender(), Folder(tmp_path))
