# SPDX-License-Identifier: Apache-2.0
"""Buckets are merged without loss: counts up to the remaining bounds stay the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import frames

from ebpf_sidecar.pipeline import Kind
from ebpf_sidecar.pipeline.bucket_merging import merged
from ebpf_sidecar.pipeline.testing import frame

HISTOGRAMS = frames(kinds=(Kind.HISTOGRAM,)).filter(
    # bounds that differ in their last digits alone are the same
    lambda histogram: not np.isclose(histogram.bounds[1:], histogram.bounds[:-1], rtol=1e-8, atol=0.0).any()
)
KERNEL = 1e-9 * 2.0 ** np.arange(8, 36)
"""The bounds that the kernel counts durations with."""


def up_to(histogram):
    """What is counted up to each bound, by bound, for each row."""
    return dict(zip([*histogram.bounds.tolist(), np.inf], np.cumsum(histogram.values, axis=1).T.tolist(), strict=True))


@given(HISTOGRAMS, st.data())
def test_what_is_counted_up_to_a_bound_that_stays_is_the_same(full, data):
    """Up to infinity as well; sums, rows and times are untouched."""
    wanted = data.draw(st.lists(st.sampled_from(full.bounds.tolist()) | st.floats(1e-9, 1e12), max_size=6))
    fewer = merged(full, np.array(wanted))
    before, after = up_to(full), up_to(fewer)

    assert {bound: before[bound] for bound in after} == after
    assert after[np.inf] == before[np.inf]
    assert fewer.sums is full.sums or fewer.sums.tolist() == full.sums.tolist()
    assert fewer.rows is full.rows
    assert (full.time_unix_nano, full.start_time_unix_nano) == (fewer.time_unix_nano, fewer.start_time_unix_nano)
    assert fewer.values.dtype == full.values.dtype


@given(HISTOGRAMS, st.data())
def test_only_wanted_bounds_stay_and_all_that_there_are(full, data):
    """In whatever order, and however often, they are requested."""
    wanted = data.draw(st.lists(st.sampled_from(full.bounds.tolist()), min_size=1))

    assert sorted(set(wanted)) == merged(full, np.array(wanted)).bounds.tolist()


@given(HISTOGRAMS, st.data())
def test_merging_in_two_steps_is_merging_at_once(full, data):
    """So an exporter may continue with already merged buckets."""
    first = data.draw(st.lists(st.sampled_from(full.bounds.tolist()), min_size=1))
    second = data.draw(st.lists(st.sampled_from(first), min_size=1))
    twice, once = merged(merged(full, np.array(first)), np.array(second)), merged(full, np.array(second))

    assert (once.bounds.tolist(), once.values.tolist()) == (twice.bounds.tolist(), twice.values.tolist())


def test_neighbours_are_added_to_the_next_bound_that_stays():
    """And what is above the last one to the bucket without a bound."""
    fewer = merged(frame("wait", [[1, 2, 4, 8, 16]], bounds=[1, 2, 3, 4]), np.array([2.0, 3.0]))

    assert ([2.0, 3.0], [[3, 4, 24]]) == (fewer.bounds.tolist(), fewer.values.tolist())


def test_bounds_that_differ_in_their_last_digits_are_the_same():
    """A user writes 1.048576ms, the kernel's are powers of two of a billionth."""
    full = frame("wait", [[1] * 29], bounds=KERNEL)

    assert [KERNEL[12]] == merged(full, np.array([1.048576e-3])).bounds.tolist()


@pytest.mark.parametrize("last", [34, 35])
def test_a_back_end_chooses_a_set_of_its_own(last):
    """One without an unbounded bucket takes the kernel's last bound, 34.36 s; few values are beyond it."""
    wanted = 1e-9 * 2.0 ** np.array([10, 20, 30, last])
    fewer = merged(frame("wait", [[1] * 29], bounds=KERNEL), wanted)

    assert pytest.approx([1.024e-6, 1.048576e-3, 1.073741824, 2.0**last / 1e9]) == fewer.bounds.tolist()
    assert [[3, 10, 10, last - 30, 36 - last]] == fewer.values.tolist()


def test_what_cannot_be_merged_is_left_as_it_is():
    """No histogram, none of the bounds, all of the bounds."""
    counter, full = frame("work", [1]), frame("wait", [[1, 2]], bounds=[1])

    assert all(merged(each, np.array([wanted])) is each for each, wanted in ((counter, 1), (full, 2), (full, 1)))
    assert merged(full, np.array([])) is full


def test_a_histogram_without_rows_has_fewer_buckets_too():
    """Its bounds must not change when the first row comes."""
    fewer = merged(frame("wait", np.zeros((0, 4)), [], bounds=[1, 2, 3], sums=[]), np.array([2.0]))

    assert ((0, 2), [2.0]) == (fewer.values.shape, fewer.bounds.tolist())
