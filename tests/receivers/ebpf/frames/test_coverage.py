# SPDX-License-Identifier: Apache-2.0
"""The share of what was counted whose cgroup is known."""

from math import isclose

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import Kind, RowSet
from ebpf_sidecar.pipeline.testing import frame
from ebpf_sidecar.receivers.ebpf.frames.reading import coverage

CGROUP = "process.linux.cgroup"
POD = f"/kubepods/burstable/pod{'a' * 32}/{'b' * 64}"
PATHS = st.sampled_from([POD, f"{POD}/inner", "/system.slice/cron.service", "/", ""])
COUNTED = st.lists(st.tuples(PATHS, st.integers(0, 2**40)), max_size=8)


def rows_of(counted):
    """The rows of pairs of path and count."""
    return RowSet.of([{CGROUP: path, "device": "sda"} for path, _ in counted])


@given(st.lists(COUNTED, max_size=4))
def test_it_is_the_mean_of_the_counters_shares(counters):
    """Row by row, in whole numbers; a counter without events has no part in it."""
    frames = [frame(f"c{n}", [count for _, count in each], rows_of(each)) for n, each in enumerate(counters)]
    totals = [sum(count for _, count in each) for each in counters]
    known = [sum(count for path, count in each if path) for each in counters]
    shares = [part / total for part, total in zip(known, totals, strict=True) if total]
    found = coverage(frames)

    assert (found is None) == (not shares)
    assert not shares or isclose(found, sum(shares) / len(shares))


def test_each_counter_weighs_the_same_whatever_its_unit():
    """A million bytes of an unknown owner and one call of a container: half."""
    rows = RowSet.of([{CGROUP: POD}, {CGROUP: ""}])

    assert 0.5 == coverage([frame("calls", [1, 0], rows), frame("io", [0, 10**6], rows, unit="By")])


def test_what_runs_outside_of_containers_is_known_to_do_so():
    """A machine without any container has full coverage; a container that could not be named reduces it."""
    outside = RowSet.of([{CGROUP: "/"}, {CGROUP: "/system.slice/cron.service"}])
    one_unknown = RowSet.of([{CGROUP: "/"}, {CGROUP: POD}, {CGROUP: ""}])

    assert 1.0 == coverage([frame("c", [5, 7], outside)])
    assert 0.75 == coverage([frame("c", [5, 1, 2], one_unknown)])


def test_counts_near_the_largest_are_exact():
    """They are added up as whole numbers."""
    rows = RowSet.of([{CGROUP: POD}, {CGROUP: POD}, {CGROUP: "/"}])

    assert 1.0 == coverage([frame("c", [2**62, 1, 0], rows)])


def test_frames_without_a_cgroup_or_counter_are_left_out():
    """Histograms, gauges, rows without the attribute, and a cgroup that is a number."""
    rows, without = RowSet.of([{CGROUP: POD}]), RowSet.of([{"device": "sda"}])
    numbers = RowSet(without.ids, {CGROUP: np.array([7])})
    left_out = [frame("g", [1], rows, kind=Kind.GAUGE), frame("h", [[1, 1]], rows, bounds=[1.0])]

    assert coverage([*left_out, frame("c", [1], without), frame("c", [1], numbers)]) is None
