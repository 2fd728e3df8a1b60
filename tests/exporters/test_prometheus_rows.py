# SPDX-License-Identifier: Apache-2.0
"""Rows whose attributes change: each is on the page once, so that a sum over the page is correct."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_exporter import OPENMETRICS, SECOND, ServedExporter

from ebpf_sidecar.pipeline import ComponentKind, RowSet, Temporality, Text
from ebpf_sidecar.pipeline.testing import NOON, fake_context, frame
from ebpf_sidecar.processors.container import ContainerProcessor, ContainerSettings

FULL = "measure-everything"
POD = f"/kubepods/burstable/pod{'a' * 32}/{'b' * 64}"


def work(second, described, **parts):
    """A counter at a second; ``described``: row id → label and value."""
    labels, values = zip(*described.values(), strict=True) if described else ((), ())
    rows = RowSet(np.array(list(described), np.uint64), {"who": Text.of(labels)})
    return frame("work", list(values), rows, time_unix_nano=NOON + second * SECOND, **parts)


def shown(served):
    """The values on the page by label."""
    return {line.split('"')[1]: int(line.rsplit(" ", 1)[1]) for line in served.samples()}


@pytest.mark.parametrize("old", ["", "cut-name-of-15-b"])
def test_the_old_series_of_a_row_makes_way_at_once(served, old):
    """A name became known: the row is one series, not two until the old one expires."""
    served.export(work(0, {1: (old, 1), 2: ("b", 1)}))
    served.export(work(1, {1: ("cut-name-of-15-bytes-and-more", 2), 2: ("b", 1)}))

    assert {"cut-name-of-15-bytes-and-more": 2, "b": 1} == shown(served)
    assert {} == served.drops


def test_a_row_that_comes_back_under_a_new_name_replaces_what_was_kept_of_it(served):
    """It was idle and withdrawn when its name became known."""
    for second, rows in enumerate([{1: ("a", 5), 2: ("b", 1)}, {2: ("b", 1)}, {1: ("full", 6), 2: ("b", 1)}]):
        served.export(work(second, rows))

    assert {"full": 6, "b": 1} == shown(served)


def test_a_row_that_is_described_anew_has_no_created_timestamp(served):
    """A reader that assumes 0 for the new series at that time would count its old name's values again."""
    old_and_new = [
        {1: ("a", 5), 2: ("b", 1)},
        {1: ("full", 6), 2: ("b", 1)},
        {1: ("full", 7), 2: ("b", 1), 3: ("c", 1)},
    ]
    served = ServedExporter({"created_timestamps": True})
    for second, rows in enumerate(old_and_new):
        served.export(work(second, rows, start_time_unix_nano=NOON))
    lines = [line.split(" ")[0] for line in served.page(OPENMETRICS).splitlines() if "_created" in line]

    assert ['work_created{who="b"}', 'work_created{who="c"}'] == lines


def test_rows_that_exchange_their_labels_keep_their_values(served):
    """Each series has the value of the row that has its labels now."""
    served.export(work(0, {1: ("a", 1), 2: ("b", 10)}))
    served.export(work(1, {1: ("b", 2), 2: ("a", 20)}))

    assert {"b": 2, "a": 20} == shown(served)


def test_rows_that_get_the_same_labels_leave_no_stale_series(served):
    """One of them is shown and the other counted; both earlier series are gone."""
    served.export(work(0, {1: ("a", 1), 2: ("b", 10)}))
    served.export(work(1, {1: ("c", 2), 2: ("c", 20)}))

    assert {"c": 20} == shown(served)
    assert {"duplicate series": 1} == served.drops


def test_a_tick_without_descriptions_changes_no_sum(served):
    """The processor container fails once: its rows are described otherwise in that tick, and never twice."""
    processor = ContainerProcessor(ContainerSettings(), fake_context(ComponentKind.PROCESSOR, "container"))
    seen = []
    for second in range(3):
        rows = RowSet.of([{"process.linux.cgroup": POD}, {"process.linux.cgroup": "/init.scope"}])
        made = frame("work", [second, 10 * second], rows, time_unix_nano=NOON + second * SECOND)
        served.export(*([made] if second == 1 else processor.process([made])))
        seen.append([int(line.rsplit(" ", 1)[1]) for line in served.samples()])

    assert [[0, 0], [1, 10], [2, 20]] == seen


def test_a_name_that_becomes_known_later_counts_once(served):
    """The same row under its whole name a minute later: the cut name's series makes way."""
    for second, name in ((0, FULL[:15]), (61, FULL)):
        rows = RowSet.of([{"process.executable.name": name}, {"process.executable.name": "sh"}])
        served.export(frame("work", [second, 1], rows, time_unix_nano=NOON + second * SECOND))
        served.clock.advance(61)

    assert {FULL: 61, "sh": 1} == shown(served)


TICKS = st.lists(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from("abcde")), unique_by=(lambda r: r[0], lambda r: r[1])),
    max_size=8,
)


@given(TICKS)
def test_the_page_is_every_row_once_with_its_latest_name_and_value(ticks):
    """The model: rows by id. A row that is away makes way where another one got its labels."""
    served, model = ServedExporter(), {}
    for second, rows in enumerate(ticks):
        tick = {id_: (label, 100 * second + id_) for id_, label in rows}
        served.export(work(second, tick))
        labels = {label for label, _ in tick.values()}
        model = {id_: row for id_, row in model.items() if row[0] not in labels} | tick

        assert dict(model.values()) == shown(served)
    assert {} == served.drops


@given(TICKS)
def test_deltas_add_up_to_all_that_happened_whatever_is_renamed(ticks):
    """Also if a row gets the labels of one that disappeared: that series continues."""
    served, happened = ServedExporter(), 0
    for second, rows in enumerate(ticks):
        tick = {id_: (label, 10**id_) for id_, label in rows}
        happened += sum(value for _, value in tick.values())
        served.export(work(second, tick, temporality=Temporality.DELTA))

        assert happened == sum(shown(served).values())
    assert {} == served.drops


@given(TICKS)
def test_deltas_that_come_by_two_pipelines_happened_once(ticks):
    """The same reading, exported twice, adds up to what one adds up to, and is counted as twice there."""
    once, twice, points = ServedExporter(), ServedExporter(), 0
    for second, rows in enumerate(ticks):
        tick = {id_: (label, 10**id_) for id_, label in rows}
        for served in (once, twice, twice):
            served.export(work(second, tick, temporality=Temporality.DELTA))
        points += len(rows)

        assert shown(once) == shown(twice)
    assert points == twice.drops.get("duplicate series", 0)


@given(TICKS)
def test_deltas_of_histograms_add_up_too(ticks):
    """In their sums and in their counts."""
    served, happened = ServedExporter(), 0
    for second, rows in enumerate(ticks):
        row_set = work(second, {id_: (label, 0) for id_, label in rows}).rows
        parts = {"bounds": [1.0], "sums": [7.0] * len(rows), "temporality": Temporality.DELTA}
        values = np.full((len(rows), 2), 3)
        made = frame("wait", values.tolist() or values, row_set, time_unix_nano=NOON + second * SECOND, **parts)
        served.export(made)
        happened += len(rows)
        lines = [line.rsplit(" ", 1) for line in served.samples()]

        assert 7.0 * happened == sum(float(value) for name, value in lines if "_sum" in name)
        assert 6 * happened == sum(int(value) for name, value in lines if "_count" in name)
