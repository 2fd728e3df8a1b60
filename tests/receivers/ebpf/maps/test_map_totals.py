# SPDX-License-Identifier: Apache-2.0
"""From readings of a kernel map to running totals: nothing is lost and nothing counted twice."""

from counted_maps import STEPS, FakeMap, tally_of, totals
from hypothesis import given

from ebpf_sidecar.receivers.ebpf.maps.map_totals import Tally, View


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


class Names:
    """Names that never change; how often that was asked."""

    asked = 0

    def version(self):
        self.asked += 1
        return 0


def test_a_version_that_views_share_is_asked_for_once_a_reading():
    """It asks the kernel who came to a name, which takes two system calls."""
    names = Names()
    views = [View((name,), lambda keys: [(who,) for who in keys["who"].tolist()], names.version) for name in "abc"]
    tally = Tally(FakeMap(), views, 1000)
    before = names.asked
    tally.update(1.0)

    assert 1 == names.asked - before
