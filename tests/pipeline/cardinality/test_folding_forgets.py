# SPDX-License-Identifier: Apache-2.0
"""Rows, owners and streams are forgotten, and nothing is counted twice."""

import numpy as np
import pytest
from folding_machine import CGROUP, EXPIRATION, NAME, at, crowd, values

from ebpf_sidecar.pipeline import RowSet, streams
from ebpf_sidecar.pipeline.cardinality import folding as module
from ebpf_sidecar.pipeline.cardinality import row_table
from ebpf_sidecar.pipeline.cardinality.folding import Folding
from ebpf_sidecar.pipeline.cardinality.row_table import RowTable


def failing_half_way(table, *_):
    """A step of a table that changes a part of it only."""
    table._index.ids = np.arange(len(table) + 1, dtype=np.uint64)
    raise MemoryError


def test_forgotten_rows_are_not_counted_twice(monkeypatch):
    """One that returns after it was forgotten loses the interval, never brings its past again."""
    monkeypatch.setattr(row_table, "MAX_ABSENT_ROWS", 5)
    folding, rows = Folding(6, EXPIRATION), crowd(40)
    folding.fold([at(0, "work", [100] * 40, rows)], 0)
    few = rows.take(np.arange(30, 40))
    folding.fold([at(10, "work", [100] * 10, few)], 10)
    folded = folding.fold([at(1000, "work", [101] * 40, rows)], 1000)[0]

    shown = values(folded)
    assert (
        15 + 10 >= shown.get("other", 0) + shown.get("", 0) > 0
    )  # what the remembered ones did since, of 4,000 that were done before


def test_rows_that_were_forgotten_before_the_buckets_changed_are_not_counted_twice(monkeypatch):
    """Their ids may be above all that are still known."""
    monkeypatch.setattr(row_table, "MAX_ABSENT_ROWS", 25)
    folding, rows = Folding(6, EXPIRATION, lambda each: len(each.bounds) + 3), crowd(40)
    for second, present in ((0, 40), (10, 35), (20, 10)):
        some = rows.take(np.arange(present))
        folding.fold([at(second, "time", [[50, 50]] * present, some, bounds=[1.0])], second)
    folded = folding.fold([at(1000, "time", [[50, 50, 0]] * 40, rows, bounds=[1.0, 2.0])], 1000)[0]

    assert 0 == folded.values.sum()


@pytest.mark.parametrize("step", ["_follow", "_growth"])
def test_a_stream_that_fails_half_way_starts_again_with_its_next_frame(step, monkeypatch):
    """Its leftovers do not make later batches fail, and its past is not counted twice."""
    causes = []
    folding, rows = Folding(6, EXPIRATION, failed=causes.append), crowd(40)
    folding.fold([at(0, "work", [100] * 20, rows.take(np.arange(20)))], 0)
    with monkeypatch.context() as patched:
        patched.setattr(RowTable, step, failing_half_way)
        came = at(10, "work", [100] * 40, rows)
        assert came is folding.fold([came], 10)[0]
    later = [folding.fold([at(s, "work", [count] * 40, rows)], s)[0] for s, count in ((20, 100), (30, 101))]

    assert ["MemoryError"] == [type(cause).__name__ for cause in causes]
    assert all(6 >= len(each) for each in later)
    assert 20 * 100 + 40 >= sum(values(later[1]).get(name, 0) for name in ("other", "")) > 0


def test_streams_and_owners_that_are_gone_are_forgotten(monkeypatch):
    """Of metrics that come once and processes that live for a tick, nothing stays but that they were there."""
    monkeypatch.setattr(streams, "MAX_ABSENT_ROUNDS", 30)
    monkeypatch.setattr(module, "SPARE_OWNERS", 10)
    folding = Folding(100, EXPIRATION)
    for second in range(0, 1000, 4):
        rows = RowSet.of([{CGROUP: f"/{second % 7}", NAME: f"p{second}-{n}"} for n in range(4)], second)
        once = [at(second, f"work{second}", [1], rows.take(np.arange(1)))] if second < 400 else []
        folding.fold([at(second, "work", [1] * 4, rows), *once], second)

    assert 1 == len(folding._streams)
    assert 100 == len(folding._forgotten)
    assert 500 > len(folding._owners)


def test_a_metric_that_was_forgotten_does_not_bring_its_past_again(monkeypatch):
    """Its rows count from where they are when they return."""
    monkeypatch.setattr(streams, "MAX_ABSENT_ROUNDS", 3)
    folding, rows, others = Folding(9, EXPIRATION), crowd(30), crowd(2, "/d")
    folding.fold([at(0, "work", [100] * 30, rows)], 0)
    for second in range(10, 60, 10):
        folding.fold([at(second, "else", [1, 1], others)], second)
    grown = [values(folding.fold([at(s, "work", [c] * 30, rows)], s)[0]) for s, c in ((400, 100), (410, 101))]

    assert {"other", ""}.isdisjoint(grown[0])
    assert 30 >= grown[1].get("other", 0) + grown[1].get("", 0) > 0
