# SPDX-License-Identifier: Apache-2.0
"""From totals to frames, as the probe's YAML says."""

import numpy as np
import pytest

from ebpf_sidecar.pipeline import ExplicitBuckets, ExponentialBuckets
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.receivers.ebpf.frames.decoders import Decoders
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime, frame_maker, spread_rows, view_of
from ebpf_sidecar.receivers.ebpf.maps.row_totals import Snapshot
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute, Distinct, Metric, Slots, Spread, Sum

COLUMNS = {"lookups": slice(0, 1), "adds": slice(1, 5), "duration": slice(5, 9), "duration_sum": slice(9, 10)}
READING_TIME = ReadingTime(2_000, {"service.name": "x"})


def metric(value, kind="counter"):
    """A metric of that value."""
    return Metric("m", kind, "u", "d", "", "map", (), value)


@pytest.fixture
def snapshot():
    """Two rows of ten columns: 0..9 and 10..19."""
    rows = RowSet.of([{"who": "a"}, {"who": "b"}], first_id=5)
    return Snapshot(
        rows,
        np.arange(20, dtype=np.uint64).reshape(2, 10),
        np.array([1_000, 3_000], np.uint64),
        np.array([7, 0], np.uint64),
    )


def test_a_sum_adds_columns_and_elements_of_arrays(snapshot):
    """Misses are the adds by read and by mmap."""
    frame = frame_maker(metric(Sum(("lookups", "adds[0]", "adds[2]"))), COLUMNS)(snapshot, READING_TIME)

    assert [0 + 1 + 3, 10 + 11 + 13] == frame.values.tolist()
    assert frame.rows is snapshot.rows
    assert ("u", "d", Kind.COUNTER) == (frame.unit, frame.description, frame.kind)
    assert {"service.name": "x"} == frame.resource


def test_a_difference_is_never_negative(snapshot):
    """A map changes while it is read, so that an end can be seen before its start."""
    shown, empty = (Sum(names, ("adds[1]",)) for names in (("lookups", "adds[2]"), ("lookups",)))

    frames = [frame_maker(metric(value, "updowncounter"), COLUMNS)(snapshot, READING_TIME) for value in (shown, empty)]

    assert [[0 + 3 - 2, 10 + 13 - 12], [0, 0]] == [frame.values.tolist() for frame in frames]
    assert Kind.UPDOWNCOUNTER == frames[0].kind


def test_a_spread_makes_a_row_for_each_element(snapshot):
    """One array becomes rows distinguished by an attribute, each with its own id."""
    make = frame_maker(metric(Spread("adds", "cause", ("read", "write", "mmap", "other"))), COLUMNS)
    frame, again = make(snapshot, READING_TIME), make(snapshot, READING_TIME)

    assert [1, 2, 3, 4, 11, 12, 13, 14] == frame.values.tolist()
    assert {"who": "b", "cause": "mmap"} == frame.rows.records()[6]
    assert 8 == len(set(frame.rows.ids.tolist()))
    assert again.rows is frame.rows


def test_a_count_of_different_keys_is_a_gauge(snapshot):
    """Of the last interval, so that it falls back to zero."""
    frame = frame_maker(metric(Distinct("seen"), "gauge"), COLUMNS)(snapshot, READING_TIME)

    assert (Kind.GAUGE, [7.0, 0.0]) == (frame.kind, frame.values.tolist())


def test_the_identity_of_a_spread_row_does_not_depend_on_its_neighbours():
    """A row keeps its identity when rows before it come or go."""
    rows = RowSet.of([{"who": "a"}, {"who": "b"}], first_id=5)
    alone = spread_rows(rows.take(np.array([1])), "cause", ["read", "write"])

    assert spread_rows(rows, "cause", ["read", "write"]).ids.tolist()[2:] == alone.ids.tolist()


def test_a_histogram_has_powers_of_two_as_inclusive_bounds(snapshot):
    """Slot i ends at scale * 2 ** (lowest_exponent + i); the last one has no end."""
    make = frame_maker(metric(Slots("duration", "duration_sum", 8, 1e-9), "histogram"), COLUMNS)
    frame = make(snapshot, READING_TIME)

    assert pytest.approx([256e-9, 512e-9, 1024e-9]) == frame.bounds.tolist()
    assert [[5, 6, 7, 8], [15, 16, 17, 18]] == frame.values.tolist()
    assert pytest.approx([9e-9, 19e-9]) == frame.sums.tolist()


def test_a_histogram_advises_the_bounds_of_its_default_exponents(snapshot):
    """They are bounds of its own, to the last bit; without the exponents it advises nothing."""
    slots = Slots("duration", "duration_sum", 8, 1e-9, (8, 10))
    advising = frame_maker(metric(slots, "histogram"), COLUMNS)(snapshot, READING_TIME)
    silent = frame_maker(metric(Slots("duration", "duration_sum", 8, 1e-9), "histogram"), COLUMNS)(
        snapshot, READING_TIME
    )

    assert [advising.bounds[0], advising.bounds[2]] == advising.buckets.advised.tolist()
    assert silent.buckets.advised is None


def test_each_row_has_its_own_start(snapshot):
    """As it was first published, whatever the wall clock shows now."""
    frame = frame_maker(metric(Sum(("lookups",))), COLUMNS)(snapshot, READING_TIME)

    assert snapshot.starts.tolist() == frame.start_times().tolist()


def test_a_view_leaves_out_what_its_decoder_does_not_know(tmp_path):
    """A value without a word has no part in a metric that is distinguished by it."""
    keys = np.array(
        [(1, 7, 0, b"cat", 1), (1, 7, 0, b"cat", 0)],
        [("cgroup", "u8"), ("tgid", "u4"), ("generation", "u4"), ("comm", "S16"), ("direction", "u4")],
    )
    attribution = Attribution(CgroupTree(Hierarchy("v2", tmp_path)), [GroupBy.EXECUTABLE])
    decoders = Decoders.of_machine()
    view = view_of([Attribute("direction", "direction", {1: "read", 2: "write"})], attribution, decoders)

    assert ("process.executable.name", "direction") == view.attributes
    assert [("cat", "read"), None] == view.groups_of(keys)


def test_only_powers_of_two_of_the_unit_are_exponential_buckets(snapshot):
    """Bytes are; nanoseconds are powers of two of no second."""
    made = [
        frame_maker(metric(Slots("duration", "duration_sum", 8, scale), "histogram"), COLUMNS)(snapshot, READING_TIME)
        for scale in (1, 1e-9)
    ]

    assert [ExponentialBuckets, ExplicitBuckets] == [type(each.buckets) for each in made]
    assert [256.0, 512.0, 1024.0] == made[0].bounds.tolist()
