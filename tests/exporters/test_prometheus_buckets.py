# SPDX-License-Identifier: Apache-2.0
"""The buckets on the page: about ten per histogram by default, without losing a count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_exporter import SECOND, ServedExporter

from ebpf_sidecar.pipeline import ExplicitBuckets, Temporality
from ebpf_sidecar.pipeline.testing import NOON, frame

BOUNDS = [1e-9 * 2.0**exponent for exponent in range(16, 21)]
ADVISED = [BOUNDS[1], BOUNDS[3]]


def wait(buckets, **parts):
    """A histogram of six buckets that advises two bounds."""
    return frame("wait", [buckets], buckets=ExplicitBuckets(BOUNDS, ADVISED), sums=[0.5], unit="s", **parts)


def edges(samples):
    """The bounds on the page, and the cumulative count of each."""
    return {line.split('le="')[1].split('"')[0]: int(line.rsplit(" ", 1)[1]) for line in samples if "_bucket" in line}


def page(buckets, **settings):
    """What a page shows of one histogram."""
    served = ServedExporter(settings)
    served.export(wait(buckets))
    return served.samples()


def test_the_metric_advises_and_the_user_decides():
    """Default, all, and a list."""
    counted = [1, 2, 4, 8, 16, 32]

    assert {"0.000131072": 3, "0.000524288": 15, "+Inf": 63} == edges(page(counted))
    assert 6 == len(edges(page(counted, histogram_bounds="full")))
    assert {"0.000262144": 7, "+Inf": 63} == edges(page(counted, histogram_bounds=["262.144us", "4KiB"]))


@given(st.lists(st.integers(0, 2**50), min_size=6, max_size=6))
def test_counts_and_sums_are_those_of_the_full_page(buckets):
    """Only bounds are missing."""
    few, full = page(buckets), page(buckets, histogram_bounds="full")

    assert set(few) <= set(full)
    assert [line for line in full if "_bucket" not in line] == [line for line in few if "_bucket" not in line]


def test_deltas_are_added_up_in_the_buckets_that_are_shown():
    """As those of all of them are."""
    served = ServedExporter()
    for second in range(3):
        delta = {"temporality": Temporality.DELTA, "time_unix_nano": NOON + second * SECOND}
        served.export(wait([1, 2, 4, 8, 16, 32], **delta))

    assert {"0.000131072": 9, "0.000524288": 45, "+Inf": 189} == edges(served.samples())


@pytest.mark.parametrize("settings", [{}, {"histogram_bounds": "full"}, {"histogram_bounds": ["262.144us"]}])
def test_a_histogram_without_advised_bounds_is_shown_with_all_buckets(settings):
    """A histogram of a third party has bounds of its own."""
    served = ServedExporter(settings)
    served.export(frame("age", [[1, 2, 3]], bounds=[1, 5], unit="d"))

    assert {"1.0": 1, "5.0": 3, "+Inf": 6} == edges(served.samples())
