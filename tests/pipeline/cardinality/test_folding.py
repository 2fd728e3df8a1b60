# SPDX-License-Identifier: Apache-2.0
"""Shared rows, for owners that have none of their own."""

from dataclasses import replace

import numpy as np
import pytest
from folding_machine import CGROUP, EXPIRATION, NAME, SECOND, Machine, Page, at, crowd, labels, names, values

from ebpf_sidecar.pipeline import Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.cardinality.folding import Folding
from ebpf_sidecar.pipeline.testing import NOON


def test_what_fits_passes_untouched():
    """The frames are the very same objects, so nothing that is kept for their rows is made again."""
    folding, rows = Folding(100, EXPIRATION), crowd(5)
    for second in (0, 10, 20):
        came = [at(second, "work", [second] * 5, rows), at(second, "level", [1.5] * 5, rows, kind=Kind.GAUGE)]

        assert all(one is other for one, other in zip(came, folding.fold(came, second), strict=True))
    assert (0, 0) == (folding.folded, folding.overflowed)


def test_containers_of_one_interval_have_rows_under_their_own_ids_while_there_is_room():
    """They come and go, and each uses the budget until it expires; a tenth is kept for growth."""
    folding, shown = Folding(115, EXPIRATION), []
    for second in range(100):
        rows = RowSet.of([{"container.id": f"c{second}", NAME: "p"}], second)
        shown += folding.fold([at(second, "work", [1], rows)], second)[0].rows.records()

    assert [{"container.id": f"c{second}", NAME: "p"} for second in range(100)] == shown
    assert (0, 0, 101) == (folding.folded, folding.overflowed, folding.used)


@pytest.mark.parametrize("kind", Kind)
def test_levels_that_add_up_pass_untouched_where_there_is_room(kind):
    """Nothing is shared, and nothing fails, whatever a frame holds."""
    parts = {"bounds": [1]} if kind is Kind.HISTOGRAM else {"kind": kind}
    held, failed = [[1, 2]] * 5 if kind is Kind.HISTOGRAM else [1] * 5, []
    came = at(0, "level", held, crowd(5), unit="By", **parts)

    assert [came] == Folding(1000, EXPIRATION, failed=failed.append).fold([came], 0.0)
    assert [] == failed


def test_a_process_is_folded_in_all_its_metrics_or_in_none():
    """Its rows differ in number and form; what decides is the process."""
    machine, page = Machine(), Page(60)
    for number in range(20):
        machine.work(("/c", str(number)), 10 + number, ("read", "write", "openat")[number % 3])
    duration, moved = page.tick(machine)

    assert names([duration]) == names([moved])
    assert 3 < len(names([moved])) < 20
    assert page.folding.folded == 20 - len(names([moved]) - {"other"})


def test_others_of_a_cgroup_share_rows_that_keep_what_is_no_process():
    """Cgroup, cause and system call stay; only the name becomes one."""
    folded = Folding(10, EXPIRATION).fold([at(0, "work", range(20), crowd(20))], 0.0)[0]

    [shared] = [record for record in folded.rows.records() if record[NAME] == "other"]
    assert {CGROUP: "/c", NAME: "other", "cause": "read"} == shared
    assert sum(range(20)) == folded.values.sum()
    assert {"p19", "p18", "p17"} < set(values(folded))  # the busiest


def test_beyond_rows_of_cgroups_there_is_one_overflow_row():
    """It has no attribute but that of the specification, and its place was kept."""
    rows = RowSet.of([{CGROUP: f"/{n}", NAME: "p", "cause": "read"} for n in range(100)])
    folding = Folding(20, EXPIRATION)
    folded = folding.fold([at(0, "work", [1] * 100, rows)], 0.0)[0]

    assert {"otel.metric.overflow": "true"} == folded.rows.records()[-1]
    assert 20 >= len(folded)
    assert 100 == folded.values.sum()
    assert 100 - len(folded) < folding.overflowed


def test_an_unfolded_row_starts_at_0_and_the_shared_row_keeps_the_past():
    """In the interval of the change, too, all is counted once."""
    folding, rows, shown = Folding(7, EXPIRATION), crowd(11), {}
    for second in range(0, 200, 10):
        busy = 0 if second < 100 else 1000 * second
        shown[second] = values(folding.fold([at(second, "work", [5] * 10 + [5 + busy], rows)], second)[0])
    first = min(second for second, row in shown.items() if "p10" in row)
    before = shown[first - 10]["other"]

    assert first >= 100
    assert (0, before + 1000 * first) == (shown[first]["p10"], shown[first]["other"])
    assert (10_000, before + 1000 * first) == (shown[first + 10]["p10"], shown[first + 10]["other"])


def test_an_own_row_goes_with_its_last_value_and_takes_nothing_with_it():
    """Until it has left the page what is counted goes to the shared row, and so it does afterwards."""
    folding, rows, shown = Folding(7, EXPIRATION), crowd(12), []
    for second in range(0, 1000, 10):
        idle, busy = second // 10, 1000 * second
        counts = [idle] * 8 + ([busy] * 4 if second else [0] * 4)
        shown.append(values(folding.fold([at(second, "work", counts, rows)], second)[0]))
    gone = {name for row in shown for name in row} - set(shown[-1])

    assert gone
    for name in gone:
        last = max(tick for tick, row in enumerate(shown) if name in row)
        before, after = shown[last], shown[last + 1]
        grown = {other: value - before.get(other, 0) for other, value in after.items()}

        assert grown.get("other", 0) + grown.get("", 0) >= 1
        assert 4 * 10_000 + 8 == sum(grown.values())  # all that was done


def test_each_row_has_its_own_start_time():
    """A row that was unfolded since then; others keep theirs, and shared ones have that of what they count first."""
    folding, rows, frames = Folding(7, EXPIRATION), crowd(11), {}
    for second in range(0, 200, 10):
        counts = [5] * 10 + [0 if second < 100 else 1000 * second]
        frames[second] = folding.fold([at(second, "work", counts, rows, start_time_unix_nano=NOON - SECOND)], second)[0]
    begun = min(second for second, each in frames.items() if "p10" in names([each]))
    starts = dict(zip(values(frames[190]), frames[190].start_times().tolist(), strict=True))

    assert NOON + begun * SECOND == starts.pop("p10")
    assert {NOON - SECOND} == set(starts.values())


def test_a_row_that_gets_another_name_goes_where_that_belongs():
    """A cut name is completed: the row stays the same one."""
    folding, rows = Folding(9, EXPIRATION), crowd(20)
    page = Page(9)
    page.folding = folding
    machine = Machine()
    renamed = RowSet.of([{CGROUP: "/c", NAME: f"{'q' if n % 3 else 'p'}{n}", "cause": "read"} for n in range(20)])
    for second, described in ((0, rows), (10, rows), (20, renamed), (30, renamed), (340, renamed), (350, rows)):
        page.tick(
            machine, second - machine.now, frames=[at(second, "work", [second + n for n in range(20)], described)]
        )


def test_a_counter_that_starts_again_goes_on_in_the_shared_row():
    """What it counted before stays, what it counted since is added; rows of their own start again as they came."""
    folding, rows = Folding(6, EXPIRATION), crowd(12)
    folding.fold([at(0, "work", [10] * 12, rows)], 0)
    before, after = (
        values(folding.fold([at(second, "work", [amount] * 12, rows)], second)[0])
        for second, amount in ((10, 20), (20, 7))
    )
    shared = 12 - (len(after) - 1)

    assert 7 * shared == after["other"] - before["other"]
    assert {7} == {value for name, value in after.items() if name != "other"}


def test_deltas_are_summed_up_in_each_batch():
    """The shared row has no state: it shows only the current batch."""
    folding, rows = Folding(6, EXPIRATION), crowd(12)
    for second in (10, 20):
        delta = replace(at(second, "work", [3] * 12, rows), temporality=Temporality.DELTA)
        folded = folding.fold([delta], second)[0]

        assert 36 == folded.values.sum()
        assert Temporality.DELTA is folded.temporality


@pytest.mark.parametrize(("unit", "kind"), [("{process}", Kind.GAUGE), ("By/s", Kind.GAUGE), ("1", Kind.UPDOWNCOUNTER)])
def test_levels_that_add_up_are_summed(unit, kind):
    """Each batch separately, of its own rows."""
    folding, rows = Folding(6, EXPIRATION), crowd(12)
    for second, level in ((0, 4.0), (10, 2.5)):
        folded = folding.fold([at(second, "level", [level] * 12, rows, unit=unit, kind=kind)], second)[0]

        assert 12 * level == folded.values.sum()
        assert "other" in values(folded)


@pytest.mark.parametrize("unit", ["%", "1", "s", "Cel", ""])
def test_levels_that_do_not_add_up_are_absent_from_shared_rows(unit):
    """The sum of two percentages is none; that of rows with names is shown."""
    folded = Folding(6, EXPIRATION).fold([at(0, "rate", [50] * 12, crowd(12), unit=unit, kind=Kind.GAUGE)], 0)[0]

    assert 3 <= len(folded) < 6
    assert "other" not in values(folded)


def test_a_process_that_is_called_other_and_rows_that_overflowed_before_join_theirs():
    """No series is twice on the page."""
    rows = RowSet.of(
        [{CGROUP: "/c", NAME: "other"}, {CGROUP: "/c", NAME: "p"}, {"otel.metric.overflow": "true"}, {"cause": "x"}]
    )
    folded = Folding(100, EXPIRATION).fold([at(0, "work", [1, 2, 4, 8], rows)], 0)[0]
    found = dict(zip(labels(folded), folded.values.tolist(), strict=True))

    assert {1, 2, 4, 8} == set(found.values())
    assert 4 == found[("otel.metric.overflow", "true"),]
    assert 1 == found[(NAME, "other"), (CGROUP, "/c")]


def test_rows_that_name_no_process_are_never_folded_while_there_is_room():
    """The receiver's own telemetry, for instance."""
    hooks = RowSet.of([{"hook": str(number)} for number in range(40)])
    folding = Folding(50, EXPIRATION)
    folded = folding.fold(
        [at(0, "attached", [1] * 40, hooks, kind=Kind.GAUGE, unit="{hook}"), at(0, "w", [1] * 30, crowd(30))], 0
    )

    assert 40 == len(folded[0])
    assert 10 > len(folded[1])


def test_what_cannot_be_judged_passes_and_is_reported():
    """Values that are not numbers are refused when they are shown; other frames are still folded."""
    causes = []
    folding = Folding(6, EXPIRATION, failed=causes.append)
    odd = at(0, "odd", [1] * 12, crowd(12)).with_values(np.array(["no number"] * 12, dtype=object))
    passed, folded = folding.fold([odd, at(0, "work", [1] * 12, crowd(12))], 0)

    assert passed is odd
    assert 6 >= len(folded)


def test_other_buckets_start_from_zero():
    """Values of other bounds cannot be added up; what was counted before is not counted again."""
    folding, rows = Folding(26, EXPIRATION, lambda each: len(each.bounds) + 3), crowd(12)
    folding.fold([at(0, "time", [[5, 5]] * 12, rows, bounds=[1.0])], 0)
    first = folding.fold([at(10, "time", [[5, 5, 5]] * 12, rows, bounds=[1.0, 2.0])], 10)[0]
    second = folding.fold([at(20, "time", [[6, 5, 5]] * 12, rows, bounds=[1.0, 2.0])], 20)[0]

    assert "other" not in names([first])
    assert "other" in names([second])
    assert [12 - (len(second) - 1), 0, 0] == second.values[-1].tolist()


def test_infinite_numbers_are_left_out():
    """A receiver may send infinite floats: what was folded stays finite, and nothing fails."""
    folding, rows = Folding(6, EXPIRATION), crowd(12)
    for second, value in ((0, 1.0), (10, np.inf), (20, np.nan), (30, 5.0)):
        odd = at(second, "time", [1] * 12, rows, unit="s").with_values(np.full(12, value))
        folded = folding.fold([odd], second)[0]

    assert np.isfinite(values(folded).get("other", values(folded).get("")))
