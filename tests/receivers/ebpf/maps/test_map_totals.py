# SPDX-License-Identifier: Apache-2.0
"""From readings of a kernel map to running totals: nothing is lost and nothing counted twice."""

from counted_maps import STEPS, FakeMap, tally_of, totals
from hypothesis import given

from ebpf_sidecar.receivers.ebpf.maps.map_totals import MapTotals, View


def test_counts_of_one_group_are_added_over_all_its_entries():
    """Two kernel entries of a group make one row."""
    kernel_map = FakeMap()
    map_totals = MapTotals(kernel_map, [View(("who",), lambda keys: [("all",)] * len(keys))], 1000)
    kernel_map.count(1, 5)
    kernel_map.count(2, 7)
    map_totals.update(1.0)

    assert {"all": [12, 2]} == totals(map_totals)


def test_an_entry_that_was_made_again_between_two_readings_counts_from_zero():
    """A value below the last one is a restart, not a decrease."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map)
    kernel_map.count(1, 100)
    map_totals.update(1.0)
    kernel_map.entries.clear()
    kernel_map.count(1, 3)
    map_totals.update(2.0)

    assert {"1": [103, 2]} == totals(map_totals)


def test_the_row_set_is_the_same_object_while_rows_stay_the_same():
    """What is derived from a row set may be kept."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map)
    kernel_map.count(1)
    map_totals.update(1.0)
    before = map_totals.snapshot().rows
    kernel_map.count(1)
    map_totals.update(2.0)

    assert map_totals.snapshot().rows is before


def test_a_stale_row_is_withdrawn_and_goes_on_when_it_returns():
    """Withdrawing a row never makes its counter fall, and its identity stays."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, stale_after=10.0)
    kernel_map.count(1, 5)
    map_totals.update(1.0)
    identity = map_totals.snapshot().rows.ids.tolist()
    map_totals.update(12.0)
    withdrawn = totals(map_totals)
    kernel_map.count(1, 2)
    map_totals.update(13.0)

    assert {} == withdrawn
    assert {"1": [7, 2]} == totals(map_totals)
    assert identity == map_totals.snapshot().rows.ids.tolist()


def test_each_view_of_a_map_has_totals_of_its_own():
    """One view distinguishes entries that another one adds up."""
    kernel_map = FakeMap()
    apart = View(("who",), lambda keys: [(str(who),) for who in keys["who"].tolist()])
    together = View((), lambda keys: [() for _ in keys])
    map_totals = MapTotals(kernel_map, [apart, together], 1000)
    kernel_map.count(1, 5)
    kernel_map.count(2, 7)
    map_totals.update(1.0)

    assert [[5, 1], [7, 1]] == map_totals.snapshot(0).totals.tolist()
    assert [[12, 2]] == map_totals.snapshot(1).totals.tolist()


def test_an_entry_without_group_has_no_part_in_the_view():
    """What a view does not show is left out of its rows, and the rest is not disturbed."""
    kernel_map = FakeMap()
    odd = View(("who",), lambda keys: [(str(who),) if who % 2 else None for who in keys["who"].tolist()])
    map_totals = MapTotals(kernel_map, [odd], 1000)
    for who in range(4):
        kernel_map.count(who, 10 + who)
    map_totals.update(1.0)

    assert {"1": [11, 1], "3": [13, 1]} == totals(map_totals)


@given(STEPS)
def test_whatever_is_counted_read_and_cleared_the_totals_are_what_was_done(steps):
    """Conservation: for each group, total == sum of all counts; and no total ever falls."""
    kernel_map, done, now = FakeMap(), {}, 0.0
    map_totals = tally_of(kernel_map)
    before = {}
    for what, who, amount in steps:
        now += 1
        if what == "count":
            kernel_map.count(who, amount)
            done[str(who)] = done.get(str(who), 0) + amount
            continue
        if what == "clear":
            kernel_map.generation ^= 1
        keys = map_totals.update(now)
        if what == "clear":
            map_totals.clear(keys[keys["generation"] != kernel_map.generation])
        after = {who: value[0] for who, value in totals(map_totals).items()}
        assert all(after[who] >= value for who, value in before.items())
        before = after
    map_totals.update(now + 1)

    assert done == {who: value[0] for who, value in totals(map_totals).items()}


def test_different_keys_that_grew_since_the_last_reading_are_counted():
    """Each once, in whichever generation; those that no longer change are not counted."""
    kernel_map = FakeMap()
    view = View(("all",), lambda keys: [("all",)] * len(keys))
    map_totals = MapTotals(kernel_map, [view], 1000, distinct=1)
    kernel_map.count(1)
    kernel_map.count(2)
    map_totals.update(1.0)
    first = map_totals.snapshot().distinct.tolist()
    kernel_map.count(2)
    kernel_map.generation = 1
    kernel_map.count(2)
    map_totals.update(2.0)
    second = map_totals.snapshot().distinct.tolist()
    map_totals.update(3.0)

    assert ([2], [1], [0]) == (first, second, map_totals.snapshot().distinct.tolist())


class Names:
    """Names that never change; counts how often the version is read."""

    asked = 0

    def version(self):
        self.asked += 1
        return 0


def test_a_version_that_views_share_is_read_once_a_reading():
    """It asks the kernel who took a name, which takes two system calls."""
    names = Names()
    views = [View((name,), lambda keys: [(who,) for who in keys["who"].tolist()], names.version) for name in "abc"]
    map_totals = MapTotals(FakeMap(), views, 1000)
    before = names.asked
    map_totals.update(1.0)

    assert 1 == names.asked - before
