# SPDX-License-Identifier: Apache-2.0
"""Explicit and exponential buckets, and that components need not know which they have."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import ExplicitBuckets, ExponentialBuckets, Frame, FrameError, Kind, RowSet
from ebpf_sidecar.pipeline.testing import NOON, frame


@pytest.mark.parametrize(
    "bounds",
    [[2.0, 1.0], [1.0, 1.0], [1.0, math.nan], [[1.0, 2.0]]],
    ids=["descending", "one_twice", "no_number", "a_list_of_lists"],
)
def test_bounds_that_do_not_ascend_are_refused(bounds):
    """Counts in them would mean nothing."""
    with pytest.raises(FrameError, match="do not ascend"):
        ExplicitBuckets(bounds)
    with pytest.raises(FrameError, match="do not ascend"):
        ExplicitBuckets([1.0], bounds)


def test_nobody_changes_the_bounds_of_a_frame_that_others_hold():
    """All exporters are given the same frame."""
    for buckets in (ExplicitBuckets(np.array([1.0, 2.0]), np.array([1.0])), ExponentialBuckets(0, 0, 1, np.ones(1))):
        for array in (buckets.bounds, buckets.advised):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 5.0


@pytest.mark.parametrize(
    ("scale", "offset", "size", "words"),
    [
        (21, 0, 1, "scale 21"),
        (-11, 0, 1, "scale -11"),
        (0, 0, -1, "-1 buckets"),
        (0, 1020, 10, "no float64"),
        (0, -1200, 10, "no float64"),
    ],
)
def test_exponential_buckets_that_no_float64_can_hold_are_refused(scale, offset, size, words):
    """Rather than showing infinite or equal bounds."""
    with pytest.raises(FrameError, match=words):
        ExponentialBuckets(scale, offset, size)


def test_powers_of_two_are_exact():
    """At scale 0, as the kernel counts sizes."""
    assert [512.0, 1024.0, 2048.0, 4096.0] == ExponentialBuckets(scale=0, offset=9, size=3).bounds.tolist()


@given(scale=st.integers(1, 20), offset=st.integers(-(2**19), 2**19), size=st.integers(0, 40))
def test_bounds_are_powers_of_the_base_that_opentelemetry_defines(scale, offset, size):
    """Base = 2 ** 2 ** -scale, calculated here with 28 digits."""
    offset = offset >> (20 - scale)  # within the range of float64 at every scale
    exponents = [Decimal(offset + i) / 2**scale for i in range(size + 1)]

    expected = [float(Decimal(2) ** exponent) for exponent in exponents]

    assert pytest.approx(expected, rel=1e-12) == ExponentialBuckets(scale, offset, size).bounds.tolist()


def test_exponential_buckets_have_one_for_zero_and_one_above_the_bounds():
    """A frame of another width is refused."""
    buckets = ExponentialBuckets(scale=0, offset=0, size=2)

    assert [[3, 1, 1, 0]] == frame("h", [[3, 1, 1, 0]], buckets=buckets).values.tolist()
    with pytest.raises(FrameError, match=r"give shape \(1, 4\)"):
        frame("h", [[3, 1]], buckets=buckets, sums=[1.0])


def test_a_histogram_without_buckets_is_refused():
    """Its columns would have no meaning."""
    with pytest.raises(FrameError, match="needs buckets and sums; give both"):
        Frame("h", Kind.HISTOGRAM, RowSet.of([{}]), np.ones((1, 2), np.uint64), NOON)
