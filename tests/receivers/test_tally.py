# SPDX-License-Identifier: Apache-2.0
"""From readings of a kernel map to running totals: nothing is lost and nothing counted twice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.tally import Tally, View

START = 1000
KEY = np.dtype([("generation", "u4"), ("who", "u4")])


class FakeMap:
    """A kernel map with two columns that a test writes into."""

    name, columns = "fake", 2

    def __init__(self):
        self.entries = {}
        self.generation = 0

    def count(self, who, amount=1):
        first, second = self.entries.get((self.generation, who), (0, 0))
        self.entries[self.generation, who] = (first + amount, second + 1)

    def read(self):
        keys = np.array(list(self.entries), KEY) if self.entries else np.zeros(0, KEY)
        return keys, np.array(list(self.entries.values()), np.uint64).reshape(-1, 2)

    def delete(self, keys):
        for key in keys.tolist():
            self.entries.pop(key, None)


def tally_of(kernel_map, **settings):
    """A tally whose groups are the keys' ``who``."""
    view = View(("who",), lambda keys: [(str(who),) for who in keys["who"].tolist()])
    return Tally(kernel_map, [view], START, **settings)


def totals(tally):
    """The tally's rows as a dictionary."""
    snapshot = tally.snapshot()
    return {r.get("who", "overflow"): v for r, v in zip(snapshot.rows.records(), snapshot.totals.tolist(), strict=True)}


def test_counts_of_one_group_are_added_over_all_its_entries():
    """Two kernel entries of a group make one row."""
    kernel_map = FakeMap()
    tally = Tally(kernel_map, [View(("who",), lambda keys: [("all",)] * len(keys))], 1000)
    kernel_map.count(1, 5)
    kernel_map.count(2, 7)
    tally.update(1.0)

    assert {"all": [12, 2]} == totals(tally)


def test_an_entry_that_was_made_again_between_two_readings_counts_from_zero():
    """A value below the last one is a new beginning, not a fall."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map)
    kernel_map.count(1, 100)
    tally.update(1.0)
    kernel_map.entries.clear()
    kernel_map.count(1, 3)
    tally.update(2.0)

    assert {"1": [103, 2]} == totals(tally)


def test_the_row_set_is_the_same_object_while_rows_stay_the_same():
    """What is derived from a row set may be kept."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map)
    kernel_map.count(1)
    tally.update(1.0)
    before = tally.snapshot().rows
    kernel_map.count(1)
    tally.update(2.0)

    assert tally.snapshot().rows is before


def test_a_stale_row_is_withdrawn_and_goes_on_when_it_returns():
    """Withdrawing a row never makes its counter fall, and its identity stays."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map, stale_after=10.0)
    kernel_map.count(1, 5)
    tally.update(1.0)
    identity = tally.snapshot().rows.ids.tolist()
    tally.update(12.0)
    withdrawn = totals(tally)
    kernel_map.count(1, 2)
    tally.update(13.0)

    assert {} == withdrawn
    assert {"1": [7, 2]} == totals(tally)
    assert identity == tally.snapshot().rows.ids.tolist()


def test_beyond_the_limit_newcomers_share_the_overflow_row():
    """Nothing is lost when there are too many groups: they are counted together and marked."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map, limit=3)
    for who in range(5):
        kernel_map.count(who, 10)
    tally.update(1.0)
    records = tally.snapshot().rows.records()

    assert {"otel.metric.overflow": "true"} in records
    assert 50 == int(tally.snapshot().totals[:, 0].sum())
    assert 2 == tally.overflowed


def test_a_group_beyond_the_limit_is_told_once_however_often_it_returns():
    """Its entries come and go with each clearing."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map, limit=1)
    kernel_map.count(1)
    for now in range(1, 6):
        kernel_map.count(2)
        keys = tally.update(float(now))
        tally.clear(keys[keys["who"] == 2])

    assert 1 == tally.overflowed


def test_beyond_the_limit_stale_rows_without_entries_give_way():
    """Room is made by what is long gone, before anything overflows."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map, limit=2, stale_after=10.0)
    kernel_map.count(1)
    kernel_map.count(2)
    tally.clear(tally.update(1.0))
    kernel_map.entries.clear()
    kernel_map.count(3, 4)
    tally.update(20.0)

    assert {"3": [4, 1]} == totals(tally)
    assert 0 == tally.overflowed


def test_a_row_that_was_given_up_and_returns_counts_since_the_last_reading():
    """It begins at 0 again, which it did not have at the beginning; others count since then."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map, limit=2, stale_after=10.0)
    kernel_map.count(1)
    kernel_map.count(2)
    tally.clear(tally.update(1.0, START + 1))
    kernel_map.entries.clear()
    kernel_map.count(3)
    tally.update(20.0, START + 20)
    kernel_map.count(1)
    tally.update(25.0, START + 25)
    seen = tally.snapshot()

    starts = dict(zip([record["who"] for record in seen.rows.records()], seen.starts.tolist(), strict=True))
    assert {"3": START + 1, "1": START + 20} == starts


def test_a_row_that_an_entry_still_counts_into_never_gives_way():
    """Making room must not send a sleeping entry's next count to another row."""
    kernel_map = FakeMap()
    tally = tally_of(kernel_map, limit=2, stale_after=10.0)
    kernel_map.count(1)
    kernel_map.count(2)
    keys = tally.update(1.0)
    tally.clear(keys[keys["who"] == 1])
    tally.update(20.0)
    kernel_map.count(3)
    kernel_map.count(2, 9)
    tally.update(21.0)

    assert {"2": [10, 2], "3": [1, 1]} == totals(tally)


def test_each_view_of_a_map_has_totals_of_its_own():
    """One view tells entries apart that another one adds up."""
    kernel_map = FakeMap()
    apart = View(("who",), lambda keys: [(str(who),) for who in keys["who"].tolist()])
    together = View((), lambda keys: [() for _ in keys])
    tally = Tally(kernel_map, [apart, together], 1000)
    kernel_map.count(1, 5)
    kernel_map.count(2, 7)
    tally.update(1.0)

    assert [[5, 1], [7, 1]] == tally.snapshot(0).totals.tolist()
    assert [[12, 2]] == tally.snapshot(1).totals.tolist()


def test_an_entry_without_group_has_no_part_in_the_view():
    """What a view does not show is left out of its rows, and the rest is not disturbed."""
    kernel_map = FakeMap()
    odd = View(("who",), lambda keys: [(str(who),) if who % 2 else None for who in keys["who"].tolist()])
    tally = Tally(kernel_map, [odd], 1000)
    for who in range(4):
        kernel_map.count(who, 10 + who)
    tally.update(1.0)

    assert {"1": [11, 1], "3": [13, 1]} == totals(tally)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 5), st.integers(1, 1000)),
        st.tuples(st.just("update"), st.just(0), st.just(0)),
        st.tuples(st.just("clear"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_is_counted_read_and_cleared_the_totals_are_what_was_done(steps):
    """Conservation: for each group, total == sum of all counts; and no total ever falls."""
    kernel_map, done, now = FakeMap(), {}, 0.0
    tally = tally_of(kernel_map)
    before = {}
    for what, who, amount in steps:
        now += 1
        if what == "count":
            kernel_map.count(who, amount)
            done[str(who)] = done.get(str(who), 0) + amount
            continue
        if what == "clear":
            kernel_map.generation ^= 1
        keys = tally.update(now)
        if what == "clear":
            tally.clear(keys[keys["generation"] != kernel_map.generation])
        after = {who: value[0] for who, value in totals(tally).items()}
        assert all(after[who] >= value for who, value in before.items())
        before = after
    tally.update(now + 1)

    assert done == {who: value[0] for who, value in totals(tally).items()}


def test_different_keys_that_grew_since_the_last_reading_are_counted():
    """Each once, in whichever generation; those that stand still no more."""
    kernel_map = FakeMap()
    view = View(("all",), lambda keys: [("all",)] * len(keys))
    tally = Tally(kernel_map, [view], 1000, distinct=1)
    kernel_map.count(1)
    kernel_map.count(2)
    tally.update(1.0)
    first = tally.snapshot().distinct.tolist()
    kernel_map.count(2)
    kernel_map.generation = 1
    kernel_map.count(2)
    tally.update(2.0)
    second = tally.snapshot().distinct.tolist()
    tally.update(3.0)

    assert ([2], [1], [0]) == (first, second, tally.snapshot().distinct.tolist())
