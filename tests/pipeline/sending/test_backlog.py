# SPDX-License-Identifier: Apache-2.0
"""What waits on disk: first in, first out, and nothing lost without a number, whatever the disk does."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from stored_payloads import DISK_FULL, MIB, Failing, Folder, number_of, payload

from ebpf_sidecar.pipeline.payload_store import FAILED, FULL
from ebpf_sidecar.pipeline.push_settings import QueueSettings
from ebpf_sidecar.pipeline.sending import backlog as backlogs
from ebpf_sidecar.pipeline.sending.backlog import Backlog
from ebpf_sidecar.pipeline.testing import RecordedTelemetry

CAPACITY = 6
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["take", "settle", "shrink"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(["reopen", "kill", "break_disk", "repair_disk"]), st.just(0)),
)


def opened(folder, **queue):
    """A backlog whose store may be told to fail."""
    limits = {"queue_size": CAPACITY, "sizer": "items"} | queue
    return Backlog(Failing(folder.open_store("store")), QueueSettings(**limits), RecordedTelemetry())


class Model:
    """A backlog beside two lists: what waits, and what is being delivered."""

    def __init__(self, path):
        self.path, self.folder = path, Folder(path / "0")
        (path / "0").mkdir()
        self.backlog, self.number, self.copies = opened(self.folder), 0, 0
        self.waiting, self.taken, self.lost, self.counted = [], [], 0, 0

    def put(self, number):
        new = list(range(self.number, self.number + number))
        self.number += number
        self.backlog.put([payload(each) for each in new])
        while self.waiting and len(self.waiting) + len(new) > CAPACITY:
            del self.waiting[0]
            self.lost += 1
        self.waiting += new
        assert len(self.waiting) <= CAPACITY

    def take(self, _):
        taken = self.backlog.take()
        assert ([number_of(taken.payload)] if taken else []) == self.waiting[:1]
        if taken:
            self.taken.append((taken, self.waiting.pop(0)))

    def settle(self, place):
        for taken, number in self.taken[place : place + 1]:
            self.backlog.settle(taken)
            self.taken.remove((taken, number))

    def shrink(self, place):
        for taken, number in self.taken[place : place + 1]:
            self.backlog.replace(taken, rest := payload(number % 1000 + 1000))
            if not (taken.stored and self.backlog.store.failing):  # else the next process finds what there was before
                self.taken[place] = taken, number_of(rest)

    def break_disk(self, _):
        self.backlog.store.failing = dict(DISK_FULL)

    def repair_disk(self, _):
        self.backlog.store.failing = {}

    def reopen(self, _):
        """An orderly end, with a disk that works by then."""
        self.repair_disk(0)
        self.backlog.close({taken: 1 for taken, _ in self.taken})
        assert 0 == self.backlog.lost["shutdown"]
        self._again(self.folder)

    def kill(self, _):
        """An end without warning, with a disk that works by then; what was taken from memory was on no disk."""
        self.repair_disk(0)
        self.put(0)
        self.taken = [each for each in self.taken if each[0].stored]
        self.copies += 1
        self._again(self.folder.copy(self.path / str(self.copies)))

    def _again(self, folder):
        self.counted += self.backlog.lost["queue_full"]
        self.folder.close()
        self.folder, self.backlog = folder, opened(folder)
        self.waiting = [number for _, number in sorted(self.taken, key=lambda each: each[0].sequence)] + self.waiting
        self.taken = []

    def check(self):
        assert len(self.waiting) == self.backlog.waiting.points == self.backlog.waiting.payloads
        assert self.lost == self.counted + self.backlog.lost["queue_full"]
        assert self.backlog.lost.keys() <= {"queue_full", "shutdown"}


@settings(deadline=None, max_examples=60)
@given(st.lists(OPERATIONS, max_size=25))
def test_it_is_a_queue_that_loses_only_the_oldest_and_only_when_full(operations):
    """Through ends and kills at any moment, and disks that are full for a while."""
    with tempfile.TemporaryDirectory() as path:
        model = Model(Path(path))
        for name, argument in operations:
            getattr(model, name)(argument)
            model.check()
        model.folder.close()


def test_what_waits_in_memory_is_bounded(tmp_path, monkeypatch):
    """While a disk cannot be written, the oldest of it is lost; what is on the disk stays."""
    monkeypatch.setattr(backlogs, "MEMORY_LIMIT", 1000)
    backlog = opened(Folder(tmp_path), queue_size=100)
    backlog.put([payload(0, size=200)])
    backlog.store.failing = {"add": FAILED}
    for number in range(1, 20):
        backlog.put([payload(number, size=200)])
    taken = [number_of(backlog.take().payload) for _ in range(backlog.waiting.payloads)]

    assert {"storage_error": 15} == backlog.lost
    assert [0, 16, 17, 18, 19] == taken


def test_a_full_disk_keeps_the_newest(tmp_path, monkeypatch):
    """What fits into no memory takes the place of the oldest inside the file, which cannot grow."""
    monkeypatch.setattr(backlogs, "MEMORY_LIMIT", 200_000)
    backlog = opened(Folder(tmp_path, max_size=MIB), queue_size="16MiB", sizer="bytes")
    for number in range(40):
        backlog.put([payload(number, size=50_000)])
    taken = [number_of(backlog.take().payload) for _ in range(backlog.waiting.payloads)]

    assert {FULL: 40 - len(taken)} == backlog.lost
    assert taken == list(range(40 - len(taken), 40))
    assert len(taken) * 50_000 > MIB // 2


def test_a_disk_that_cannot_be_read_keeps_nothing_back_that_is_in_memory(tmp_path):
    """The back end gets what can be had, and the rest when the disk answers again."""
    backlog = opened(Folder(tmp_path))
    backlog.put([payload(1)])
    backlog.store.failing = {"add": FAILED, "oldest": FAILED}
    backlog.put([payload(2)])
    first, nothing = backlog.take(), backlog.take()
    unreadable, backlog.store.failing = backlog.unreadable, {}

    assert (2, None, True) == (number_of(first.payload), nothing, unreadable)
    assert 1 == number_of(backlog.take().payload)
    assert not backlog.unreadable


def test_what_is_damaged_is_skipped_and_counted(tmp_path):
    """With the points that it was known to have."""
    backlog = opened(folder := Folder(tmp_path), queue_size=100)
    for number in range(4):
        backlog.put([payload(number, points=5)])
    folder.stores[0]._db.execute("UPDATE payloads SET body = x'00', points = 1000 WHERE sequence = 2")
    taken = [number_of(backlog.take().payload) for _ in range(3)]

    assert [0, 2, 3] == taken
    assert {"corrupt": 5} == backlog.lost
    assert 0 == backlog.waiting.points
    assert [("storage", "store: payload 2 is damaged; kept in table damaged")] == backlog.telemetry.errors


def test_a_file_that_breaks_loses_what_waited_and_not_what_is_being_delivered(tmp_path):
    """And what waits from then on is on disk again."""
    backlog = opened(folder := Folder(tmp_path), queue_size=100)
    for number in range(4):
        backlog.put([payload(number, size=5000)])
    taken = backlog.take()
    folder.stores[0]._let_go()
    (tmp_path / "store").write_bytes(b"nonsense" * 1000)
    backlog.put([payload(4)])
    stored = taken.stored
    backlog.close({taken: 1})
    backlog_after = opened(folder, queue_size=100)

    assert {"corrupt": 3} == +backlog.lost
    assert not stored
    assert [0, 4] == [number_of(backlog_after.take().payload) for _ in range(2)]
