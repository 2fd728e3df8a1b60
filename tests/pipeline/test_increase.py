# SPDX-License-Identifier: Apache-2.0
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import Kind, RowSet, Temporality, increase
from ebpf_sidecar.pipeline.increase import Increases
from ebpf_sidecar.pipeline.testing import NOON, frame

SECOND = 1_000_000_000


def rows(*ids):
    """A new row set of those ids."""
    return RowSet(np.array(ids, dtype=np.uint64))


class Meter:
    """Increases of one counter, from ids and values at seconds."""

    def __init__(self):
        self.problems = []
        self._increases = Increases(self.problems.append)

    def __call__(self, second, values, start=0, ids=None, **parts):
        ids = ids or rows(*values)
        made = frame(
            "c",
            list(values.values()),
            ids,
            time_unix_nano=NOON + int(second * SECOND),
            start_time_unix_nano=start,
            **parts,
        )
        return self._increases.of(made)


def test_the_first_batch_has_no_increase():
    """There is no interval before the second read."""
    assert Meter()(0, {1: 23}) is None


def test_a_metric_that_was_not_in_the_batch_before_was_zero():
    """Another metric of the same origin shows that the receiver was there; another origin's does not."""
    increases, elsewhere = Increases([].append), {"host.name": "b"}
    first = [frame("a", [1], rows(1)), frame("a", [1], rows(1), resource=elsewhere)]
    late = [
        frame("b", [23], rows(1), time_unix_nano=NOON + SECOND),
        frame("b", [23], rows(1), time_unix_nano=NOON + SECOND, resource={"host.name": "new"}),
        frame("b", [23], rows(1), time_unix_nano=NOON - SECOND, resource=elsewhere),
    ]
    increases.batch(first)
    nothing = [increases.of(each) for each in first]
    increases.batch(late)
    known, *unknown = [increases.of(each) for each in late]

    assert [None] * 2 == nothing
    assert ([23.0], [1.0]) == (known.amounts.tolist(), known.seconds.tolist())
    assert [None] * 2 == unknown


def test_increases_and_durations_are_given_by_row():
    """The second frame gives what each row gained, whatever the order of the rows."""
    meter = Meter()
    meter(0, {1: 10, 2: 20})
    grown = meter(2, {2: 25, 1: 10})

    assert [5.0, 0.0] == grown.amounts.tolist()
    assert [2.0, 2.0] == grown.seconds.tolist()


def test_the_same_row_set_object_needs_no_search():
    """Rows in any order of ids are followed while the row set stays the same object."""
    meter, same = Meter(), rows(7, 3, 5)
    meter(0, {7: 1, 3: 2, 5: 3}, ids=same)
    grown = meter(1, {7: 2, 3: 4, 5: 6}, ids=same)

    assert [1.0, 2.0, 3.0] == grown.amounts.tolist()


def test_a_new_row_was_zero_before():
    """A process that lived within one interval is not lost; the time is the interval."""
    meter = Meter()
    meter(0, {1: 10})
    grown = meter(4, {1: 10, 2: 23}, start=NOON - SECOND)

    assert [0.0, 23.0] == grown.amounts.tolist()
    assert [4.0, 4.0] == grown.seconds.tolist()


def test_a_row_that_returns_continues_from_where_it_was():
    """A row that was withdrawn while idle does not bring its whole past with it."""
    meter = Meter()
    for second, values in enumerate([{1: 100, 2: 1}, {2: 2}, {2: 3}]):
        meter(second, values)
    grown = meter(4, {1: 107, 2: 4})

    assert [7.0, 1.0] == grown.amounts.tolist()
    assert [4.0, 2.0] == grown.seconds.tolist()


def test_a_restart_counts_from_its_start():
    """A value below the one before, or a start after it, means: this was counted since then."""
    meter = Meter()
    meter(0, {1: 100, 2: 100, 3: 100, 4: 100})
    starts = np.array([NOON + 3 * SECOND, 0, NOON + 2 * SECOND, NOON - SECOND], np.uint64)
    grown = meter(4, {1: 8, 2: 8, 3: 108, 4: 108}, start=starts)

    assert [8.0, 8.0, 108.0, 8.0] == grown.amounts.tolist()
    assert [1.0, 4.0, 2.0, 4.0] == grown.seconds.tolist()


@pytest.mark.parametrize("second", [1, 0, -3600])
def test_a_clock_set_back_costs_one_interval(second):
    """A frame that is not later is reported and left out; the next one is measured from it."""
    meter = Meter()
    meter(0, {1: 1, 2: 1})
    meter(1, {1: 5})
    late = meter(second, {1: 6})
    grown = meter(second + 2, {1: 9, 2: 5})

    assert late is None
    assert ['"c" was not read later than its previous frame; the interval is skipped'] == meter.problems
    assert [3.0, 4.0] == grown.amounts.tolist()
    assert 2.0 == grown.seconds[0]
    assert 2.0 <= grown.seconds[1]


def test_row_sets_are_not_kept_alive():
    """Their columns may be large, and only what they counted is of interest."""
    meter, dead = Meter(), rows(1, 2)
    meter(0, {1: 1, 2: 2}, ids=dead)
    watched = ref(dead)
    del dead

    assert watched() is None


def test_metrics_resources_and_scopes_are_apart():
    """The same row ids under another name or resource are other rows."""
    increases = Increases([].append)
    for resource in ({}, {"host.name": "a"}):
        for name in ("a", "b"):
            assert increases.of(frame(name, [5], rows(1), resource=resource)) is None
    grown = increases.of(frame("a", [7], rows(1), time_unix_nano=NOON + SECOND))

    assert [2.0] == grown.amounts.tolist()


def test_a_histogram_grows_by_its_observations():
    """The buckets of a row are added up."""
    increases = Increases([].append)
    same = rows(1)
    for second, values in enumerate([[[1, 2, 3]], [[2, 2, 7]]]):
        grown = increases.of(frame("h", values, same, bounds=[1.0, 2.0], time_unix_nano=NOON + second * SECOND))

    assert [5.0] == grown.amounts.tolist()


def test_deltas_are_increases_already():
    """A delta frame needs no memory; without a start time its duration is unknown."""
    parts = {"temporality": Temporality.DELTA, "time_unix_nano": NOON}
    starts = np.array([NOON - 2 * SECOND, 0], np.uint64)
    grown = Increases([].append).of(frame("c", [5, 6], rows(1, 2), start_time_unix_nano=starts, **parts))

    assert [5.0, 6.0] == grown.amounts.tolist()
    assert [2.0, 0.0] == grown.seconds.tolist()


def test_what_is_no_count_is_left_out():
    """Infinite, missing and negative values give no amount and no warning, and later ones are measured again."""
    increases = Increases([].append)
    for second, values in enumerate([[1.0, np.inf, 1.0, 1.0], [np.nan, np.inf, -5.0, 2.0]]):
        made = frame("c", [0] * 4, rows(1, 2, 3, 4), time_unix_nano=NOON + second * SECOND)
        grown = increases.of(made.with_values(np.array(values)))

    assert [0.0, 0.0, 0.0, 1.0] == grown.amounts.tolist()
    assert [0.0, 0.0, 0.0, 1.0] == grown.seconds.tolist()


def test_a_metric_that_changes_its_type_starts_anew():
    """Values of another type cannot be compared with those before."""
    meter = Meter()
    meter(0, {1: 1})

    assert meter(1, {1: 2}, kind=Kind.UPDOWNCOUNTER) is None


def test_of_absent_rows_the_longest_absent_are_forgotten(monkeypatch):
    """Memory is bounded: a row that returns after it was forgotten loses an interval, its past is not counted twice."""
    monkeypatch.setattr(increase, "MAX_ABSENT_ROWS", 2)
    meter = Meter()
    for second, values in enumerate([{1: 10, 2: 10, 3: 10, 9: 0}, {2: 10, 3: 10, 9: 0}, {3: 10, 9: 0}, {9: 0}, {8: 0}]):
        meter(second, values)
    grown = meter(6, {1: 11, 2: 11, 3: 11})

    assert [0.0, 0.0, 1.0] == grown.amounts.tolist()


def test_rows_that_were_absent_for_hours_are_forgotten():
    """Memory follows what lives: receivers give such rows up, and their ids never return."""
    meter, hour = Meter(), 3600
    for row in range(100):
        meter(row * hour / 10, {row: 10})
    [seen] = meter._increases._seen.values()

    assert 20 <= len(seen._index) <= 22


@pytest.mark.parametrize(("start", "amount"), [(0, 0), (NOON, 0), (NOON + 9_999 * SECOND, 7)])
def test_a_row_that_returns_after_hours_counts_only_what_it_started_since(start, amount):
    """Its old total must not be counted twice; a row that started since then is another one."""
    meter = Meter()
    meter(0, {1: 7, 2: 1})
    meter(1, {2: 1})
    meter(9_999, {3: 1})
    grown = meter(10_000, {1: 7, 3: 1}, start=start)

    assert amount == grown.amounts[0]


ROW_IDS = st.integers(1, 6)
STEPS = st.lists(st.dictionaries(ROW_IDS, st.integers(0, 2**40)), min_size=1, max_size=12)


@given(first=st.dictionaries(ROW_IDS, st.integers(0, 2**40)), steps=STEPS)
def test_the_sum_of_the_increases_is_what_was_counted(first, steps):
    """Whatever rows come and go, no increase of a monotonic counter is lost or counted twice."""
    meter, totals, counted = Meter(), dict(first), dict.fromkeys(first, 0)
    meter(0, first)
    for second, gains in enumerate(steps, start=1):
        totals |= {row: totals.get(row, 0) + gain for row, gain in gains.items()}
        grown = meter(second, {row: totals[row] for row in gains})
        for row, amount in zip(gains, grown.amounts.tolist(), strict=True):
            counted[row] = counted.get(row, 0) + amount

    assert {row: totals[row] - first.get(row, 0) for row in totals} == counted


@given(values=st.lists(st.dictionaries(ROW_IDS, st.integers(0, 2**64 - 1)), min_size=2, max_size=12), data=st.data())
def test_increases_and_times_are_never_negative(values, data):
    """Resets, gaps, leaps of the clock: no amount and no duration is below zero."""
    meter, second = Meter(), 0
    for step in values:
        second += data.draw(st.integers(-5, 5))
        grown = meter(second, step, start=data.draw(st.sampled_from([0, NOON, NOON + second * SECOND])))
        if grown is not None:
            assert (grown.amounts >= 0).all()
            assert (grown.seconds >= 0).all()


@given(constant=st.dictionaries(ROW_IDS, st.integers(0, 2**64 - 1)), reads=st.integers(2, 5))
def test_a_constant_does_not_grow(constant, reads):
    """What stays the same has an increase of zero."""
    meter = Meter()
    grown = [meter(second, constant) for second in range(reads)][-1]

    assert [0.0] * len(constant) == grown.amounts.tolist()
