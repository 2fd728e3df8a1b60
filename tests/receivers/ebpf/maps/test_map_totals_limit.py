# SPDX-License-Identifier: Apache-2.0
"""More groups than rows: what shares a row, what gives way, and what never does."""

from counted_maps import START, STEPS, FakeMap, tally_of, totals
from hypothesis import given
from hypothesis import strategies as st


def test_beyond_the_limit_new_groups_share_the_overflow_row():
    """Nothing is lost when there are too many groups: they are counted together and marked."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=3)
    for who in range(5):
        kernel_map.count(who, 10)
    map_totals.update(1.0)
    records = map_totals.snapshot().rows.records()

    assert {"otel.metric.overflow": "true"} in records
    assert 50 == int(map_totals.snapshot().totals[:, 0].sum())
    assert 2 == map_totals.overflowed


def test_a_group_beyond_the_limit_is_reported_once_however_often_it_returns():
    """Its entries come and go with each clearing."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=1)
    kernel_map.count(1)
    for now in range(1, 6):
        kernel_map.count(2)
        keys = map_totals.update(float(now))
        map_totals.clear(keys[keys["who"] == 2])

    assert 1 == map_totals.overflowed


def test_beyond_the_limit_stale_rows_without_entries_give_way():
    """Room is made by what is long gone, before anything overflows."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=2, stale_after=5.0, forget_after=10.0)
    kernel_map.count(1)
    kernel_map.count(2)
    map_totals.clear(map_totals.update(1.0))
    kernel_map.entries.clear()
    kernel_map.count(3, 4)
    map_totals.update(20.0)

    assert {"3": [4, 1]} == totals(map_totals)
    assert (0, 2) == (map_totals.overflowed, map_totals.forgotten)


def test_a_row_that_was_given_up_and_returns_counts_since_the_last_reading():
    """It starts at 0 again, which it did not have before."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=2, stale_after=10.0, forget_after=10.0)
    kernel_map.count(1)
    kernel_map.count(2)
    map_totals.clear(map_totals.update(1.0, START + 1))
    kernel_map.entries.clear()
    kernel_map.count(3)
    map_totals.update(20.0, START + 20)
    kernel_map.count(1)
    map_totals.update(25.0, START + 25)
    seen = map_totals.snapshot()

    starts = dict(zip([record["who"] for record in seen.rows.records()], seen.starts.tolist(), strict=True))
    assert {"3": START + 1, "1": START + 20} == starts


def test_rows_that_are_long_gone_are_given_up_where_there_is_room_as_well():
    """Memory follows what lives, not what ever lived: a row goes an hour and a quarter after its last change."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, stale_after=4.0, forget_after=8.0)
    for now in range(100):
        kernel_map.count(now)
        map_totals.clear(map_totals.update(float(now)))
        kernel_map.entries.clear()
    rows = map_totals._totals[0]

    assert 8 + 2 >= len(rows) >= 8
    assert 2 * 64 >= len(rows._ids)
    assert 100 == map_totals.forgotten + len(rows)


@given(STEPS)
def test_what_is_given_up_and_returns_is_counted_once(steps):
    """Rows that were given up keep what they showed, and what returns starts from 0."""
    kernel_map, done, shown = FakeMap(), 0, {}
    map_totals = tally_of(kernel_map, stale_after=1.0, forget_after=2.0)
    for now, (what, who, amount) in enumerate([*steps, ("update", 0, 0)]):
        if what == "count":
            kernel_map.count(who, amount)
            done += amount
        else:
            keys = map_totals.update(float(now))
            seen = map_totals.snapshot()
            shown |= dict(zip(seen.rows.ids.tolist(), seen.totals[:, 0].tolist(), strict=True))
            map_totals.clear(keys)

    assert done == sum(shown.values())


def test_a_row_that_readers_may_still_show_never_gives_way():
    """It was withdrawn a moment ago: with less in its place, a published series would decrease."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=1, stale_after=5.0, forget_after=10.0)
    kernel_map.count(1, 100)
    map_totals.clear(map_totals.update(1.0))
    kernel_map.entries.clear()
    kernel_map.count(2)
    map_totals.update(9.0)
    kernel_map.count(1)
    map_totals.update(9.5)

    assert {"1": [101, 2], "overflow": [1, 1]} == totals(map_totals)
    assert (1, 0) == (map_totals.overflowed, map_totals.forgotten)


def test_no_overflow_is_reported_once_there_is_room():
    """A number that stayed high would ask for more rows for ever."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=2, stale_after=5.0, forget_after=10.0)
    overflowed = []
    for now in (1.0, 20.0):
        for who in range(4):
            kernel_map.count(10 * int(now) + who)
        map_totals.clear(map_totals.update(now))
        kernel_map.entries.clear()
        overflowed.append(map_totals.overflowed)
    map_totals.update(40.0)

    assert [2, 2] == overflowed
    assert 0 == map_totals.overflowed


def test_the_overflow_row_is_never_given_up():
    """It stands for many, however long they are silent."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=1, stale_after=5.0, forget_after=10.0)
    for who, now in ((1, 1.0), (2, 2.0), (3, 30.0), (4, 31.0)):
        kernel_map.count(who, 10)
        map_totals.clear(map_totals.update(now))
        kernel_map.entries.clear()

    assert {"overflow": [20, 2]} == {who: each for who, each in totals(map_totals).items() if who == "overflow"}


def test_a_row_that_an_entry_still_counts_into_never_gives_way():
    """Making room must not send a sleeping entry's next count to another row."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, limit=2, stale_after=5.0, forget_after=10.0)
    kernel_map.count(1)
    kernel_map.count(2)
    keys = map_totals.update(1.0)
    map_totals.clear(keys[keys["who"] == 1])
    map_totals.update(20.0)
    kernel_map.count(3)
    kernel_map.count(2, 9)
    map_totals.update(21.0)

    assert {"2": [10, 2], "3": [1, 1]} == totals(map_totals)


@given(STEPS, st.integers(1, 4))
def test_beyond_the_limit_nothing_falls_and_nothing_is_lost(steps, limit):
    """Groups share a row at worst: the sum is what was done, and no row that is shown ever falls."""
    kernel_map, done, now = FakeMap(), 0, 0.0
    map_totals, before = tally_of(kernel_map, limit=limit, stale_after=3.0), {}
    for what, who, amount in steps:
        now += 1
        if what == "count":
            kernel_map.count(who, amount)
            done += amount
            continue
        kernel_map.generation ^= what == "clear"
        keys = map_totals.update(now)
        if what == "clear":
            map_totals.clear(keys[keys["generation"] != kernel_map.generation])
        after = {who: value[0] for who, value in totals(map_totals).items()}
        assert all(after[who] >= value for who, value in before.items() if who in after)
        before |= after
    map_totals.update(now + 1)
    before |= {who: value[0] for who, value in totals(map_totals).items()}

    assert done == sum(before.values())
