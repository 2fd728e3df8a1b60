# SPDX-License-Identifier: Apache-2.0
"""Which buckets an exporter passes on, as a user writes it."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.buckets import ExplicitBuckets
from ebpf_sidecar.pipeline.histogram_bounds import chosen, format_nanoseconds, parse_histogram_bounds
from ebpf_sidecar.pipeline.settings import parse_duration
from ebpf_sidecar.pipeline.testing import frame

KERNEL = 1e-9 * 2.0 ** np.arange(8, 36)
DURATIONS = frame("wait", [[1] * 29], buckets=ExplicitBuckets(KERNEL, KERNEL[[2, 26]]), unit="s")
SIZES = frame(
    "size", [[1] * 5], buckets=ExplicitBuckets(np.array([512.0, 1024, 4096, 8192]), np.array([4096.0])), unit="By"
)
FOREIGN = frame("age", [[1, 2, 3]], bounds=[1, 5], unit="d")


def bounds(value, histogram):
    """The bounds of the histogram that are left where the user wrote ``value``."""
    return chosen(histogram, parse_histogram_bounds(value)).bounds.tolist()


def test_by_default_a_histogram_has_the_bounds_that_its_metric_advises():
    """All of them where it advises none."""
    assert KERNEL[[2, 26]].tolist() == bounds("default", DURATIONS)
    assert [4096] == bounds("default", SIZES)
    assert [1, 5] == bounds("default", FOREIGN)


def test_full_is_everything():
    """The frame itself."""
    assert all(chosen(each, "full") is each for each in (DURATIONS, SIZES, FOREIGN))


def test_a_list_is_for_the_histograms_of_its_units():
    """A histogram without any of its bounds has its default ones."""
    assert KERNEL[[8, 12]].tolist() == bounds(["1.048576ms", "65.536us"], DURATIONS)
    assert [4096] == bounds(["1.048576ms", "65.536us"], SIZES)
    assert [1024, 8192] == bounds(["8KiB", 1024, "1.048576ms"], SIZES)
    assert KERNEL[[2, 26]].tolist() == bounds(["1ns"], DURATIONS)
    assert [1, 5] == bounds(["1.048576ms", "8KiB"], FOREIGN)


def test_what_is_no_histogram_stays():
    """Whatever was chosen."""
    counter = frame("work", [1], unit="s")

    assert all(chosen(counter, parse_histogram_bounds(each)) is counter for each in ("default", "full", ["8KiB"]))


@given(st.integers(0, 63))
def test_every_power_of_two_of_nanoseconds_can_be_written(exponent):
    """As messages and documents write it."""
    text = format_nanoseconds(2**exponent)
    choice = parse_histogram_bounds([text]) if exponent < 63 else None  # 292 years are the longest duration

    assert exponent == 63 or pytest.approx(parse_duration(text), rel=1e-12) == 1e-9 * 2**exponent
    assert choice is None or [1e-9 * 2.0**exponent] == choice.by_unit["s"].tolist()


@given(st.integers(0, 62))
def test_every_power_of_two_of_bytes_can_be_written(exponent):
    """With a unit or without."""
    assert [float(2**exponent)] == parse_histogram_bounds([2**exponent]).by_unit["By"].tolist()


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        ("ful", '"ful" is not a choice; did you mean "full"?'),
        ("x", '"x" is not a choice; choose "default" or "full" or write a list of bounds'),
        ([], 'the list has no bounds; write "default", "full", or at least one bound'),
        (["1ms"], '"1ms" is not a power of two of nanoseconds, so no bucket ends there; did you mean "1.048576ms"?'),
        (["0s"], '"0s" is not a power of two of nanoseconds, so no bucket ends there; did you mean "1ns"?'),
        (["-1s"], '"-1s" is not a power of two of nanoseconds, so no bucket ends there; did you mean "1ns"?'),
        ([5000], '"5000" is not a power of two of bytes, so no bucket ends there; did you mean "4KiB"?'),
        (["soon"], '"soon" is not a bound; write a duration or size, as in "1.048576ms" or "4KiB"'),
    ],
)
def test_a_mistake_is_named_with_its_repair(value, mistake):
    """The nearest bound that can be."""
    with pytest.raises(ValueError, match=f"^{re.escape(mistake)}$"):
        parse_histogram_bounds(value)


def test_all_mistakes_of_a_list_are_named():
    """Not one at each start."""
    with pytest.raises(ValueError, match="soon") as raised:
        parse_histogram_bounds(["1ms", "soon", "1.024us", 3])

    assert all(f'"{each}" is no' in str(raised.value) for each in ("1ms", "soon", "3"))
