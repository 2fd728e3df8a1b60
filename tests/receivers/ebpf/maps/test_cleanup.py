# SPDX-License-Identifier: Apache-2.0
"""When kernel maps are emptied: retired, read for the last time, removed, and never a count lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.component import MapCleanup
from ebpf_sidecar.receivers.ebpf.maps.cleanup import Cleaning
from ebpf_sidecar.receivers.ebpf.maps.map_totals import MapTotals, View

KEY = np.dtype([("generation", "u4"), ("who", "u4")])


class Kernel:
    """A map and the generation that programs write with. ``late``: what a program in flight still adds to an entry of
    the retired generation before the kernel says that all programs have ended."""

    name, columns = "fake", 1

    def __init__(self, *, waits=True):
        self.entries, self.generation, self.waits, self.late = {}, 0, waits, 0

    def count(self, who, amount=1):
        key = (self.generation, who)
        self.entries[key] = self.entries.get(key, 0) + amount

    def flip(self):
        self.generation ^= 1
        return 1 - self.generation

    def settled(self):
        if self.late and self.waits:
            self.entries[1 - self.generation, 1] += self.late
            self.late = 0
        return self.waits

    def read(self):
        keys = np.array(list(self.entries), KEY) if self.entries else np.zeros(0, KEY)
        return keys, np.array(list(self.entries.values()), np.uint64).reshape(-1, 1)

    def delete(self, keys):
        for key in keys.tolist():
            del self.entries[key]


class Reader:
    """Reads a kernel as the receiver does."""

    def __init__(self, kernel, **policy):
        self.cleaning = Cleaning(MapCleanup(**policy), kernel)
        view = View(("who",), lambda keys: [(str(who),) for who in keys["who"].tolist()])
        self.map_totals = MapTotals(kernel, [view], 1000, stale_after=policy.get("stale_after", 300.0))

    def tick(self, now):
        self.cleaning.before_reading([self.map_totals], now)
        keys = self.map_totals.update(now)
        self.cleaning.after_reading([self.map_totals], [keys])

    def totals(self):
        snapshot = self.map_totals.snapshot()
        names = [record["who"] for record in snapshot.rows.records()]
        return dict(zip(names, snapshot.totals[:, 0].tolist(), strict=True))


def test_clear_after_read_empties_the_map_and_keeps_the_totals():
    """The kernel is empty after a reading, the total is not."""
    kernel = Kernel()
    reader = Reader(kernel, strategy="clear_after_read", interval=1.0)
    reader.tick(0.0)
    for now in (1.0, 2.0, 3.0):
        kernel.count(1, 5)
        reader.tick(now)

    assert {} == kernel.entries
    assert {"1": 15} == reader.totals()


def test_it_waits_for_the_interval():
    """Readings in between leave the map alone."""
    kernel = Kernel()
    reader = Reader(kernel, strategy="clear_after_read", interval=10.0)
    kernel.count(1)
    for now in (0.0, 5.0, 9.9):
        reader.tick(now)
    before = dict(kernel.entries)
    reader.tick(10.0)

    assert ({(0, 1): 1}, {}) == (before, kernel.entries)


def test_what_a_running_program_still_adds_is_not_lost():
    """A program that held the entry while the generation was flipped is waited for."""
    kernel = Kernel()
    reader = Reader(kernel, strategy="clear_after_read", interval=1.0)
    reader.tick(0.0)
    kernel.count(1, 5)
    kernel.late = 7
    reader.tick(1.0)

    assert {"1": 12} == reader.totals()


def test_where_the_kernel_cannot_wait_entries_go_one_reading_later():
    """No program runs for a whole interval, so by then the retired entries are frozen."""
    kernel = Kernel(waits=False)
    reader = Reader(kernel, strategy="clear_after_read", interval=1.0)
    reader.tick(0.0)
    kernel.count(1, 5)
    reader.tick(1.0)
    retired = dict(kernel.entries)
    kernel.entries[0, 1] += 2  # a program that had not ended
    kernel.count(1, 10)
    reader.tick(2.0)

    assert {(0, 1): 5} == retired
    assert {(1, 1): 10} == kernel.entries
    assert {"1": 17} == reader.totals()


def test_keep_recent_leaves_busy_entries_alone():
    """Nothing is removed while everything in the map is in use."""
    kernel = Kernel()
    reader = Reader(kernel, strategy="keep_recent", interval=1.0, stale_after=3.0)
    for now in range(6):
        kernel.count(1)
        reader.tick(float(now))

    assert {(0, 1): 6} == kernel.entries


def test_keep_recent_removes_what_is_idle():
    """Once something is stale the map makes room, and a row that is idle is no longer shown."""
    kernel = Kernel()
    reader = Reader(kernel, strategy="keep_recent", interval=1.0, stale_after=3.0)
    kernel.count(2, 9)
    for now in range(6):
        kernel.count(1)
        reader.tick(float(now))
    kernel.count(1)

    assert (0, 2) not in kernel.entries
    assert {"1": 6} == reader.totals()


def test_no_cleanup_removes_nothing():
    """Entries stay for ever."""
    kernel = Kernel()
    reader = Reader(kernel, strategy="no_cleanup")
    kernel.count(1)
    for now in (0.0, 1000.0, 2000.0):
        reader.tick(now)

    assert {(0, 1): 1} == kernel.entries


@pytest.mark.parametrize("waits", [True, False])
@given(
    strategy=st.sampled_from(["clear_after_read", "keep_recent", "no_cleanup"]),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.sampled_from([0.0, 0.5, 2.0])), max_size=40),
)
def test_no_strategy_loses_or_doubles_a_count(waits, strategy, steps):
    """Conservation, whatever is counted and whenever it is read."""
    kernel, done, now = Kernel(waits=waits), {}, 0.0
    reader = Reader(kernel, strategy=strategy, interval=1.0, stale_after=1.5)
    for who, amount, wait in steps:
        kernel.count(who, amount)
        done[str(who)] = done.get(str(who), 0) + amount
        if wait:
            now += wait
            reader.tick(now)
    reader.tick(now + 1)
    kept = reader.map_totals._totals[0].snapshot()
    names = [record["who"] for record in kept.rows.records()]

    assert done == dict(zip(names, kept.totals[:, 0].tolist(), strict=True))
