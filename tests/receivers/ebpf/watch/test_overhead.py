# SPDX-License-Identifier: Apache-2.0
"""The cost of probes, simulated: when one is turned off, and which."""

import pytest

from ebpf_sidecar.receivers.ebpf.watch.overhead import Overhead

ALL = ("cache", "calls", "block")
SECOND = 10**9


def spend(overhead, intervals, probes=ALL, **share):
    """Judge so many intervals of ten seconds in which each program took that share of one processor."""
    return [
        overhead.judge(10.0 * n, {name: int(10 * n * each * SECOND) for name, each in share.items()}, probes)
        for n in range(intervals + 1)
    ]


def test_a_probe_goes_when_the_limit_was_exceeded_for_three_intervals():
    """The first reading only starts the first interval; after a probe went, the count starts again."""
    verdicts = spend(Overhead(0.01, ("block",), 1), 7, issue=0.02)

    assert [None, None, None, "block", None, None, "block", None] == verdicts


def test_the_share_is_of_all_processors_together():
    """4 % of one processor is 1 % of four: not more than the limit."""
    overhead = Overhead(0.01, ALL, 4)

    assert {None} == set(spend(overhead, 9, issue=0.04))
    assert pytest.approx(0.01) == overhead.share


def test_a_burst_alone_turns_nothing_off():
    """Two expensive intervals, a cheap one, and two expensive ones."""
    overhead = Overhead(0.01, ("block",), 1)
    totals = [0, 1, 2, 2, 3, 4]

    assert {None} == {overhead.judge(10.0 * n, {"issue": t * SECOND}, ALL) for n, t in enumerate(totals)}


def test_probes_go_in_the_declared_order_and_what_is_not_in_it_stays():
    """Those that are off already are passed over."""
    order = ("calls", "block")

    assert "calls" == spend(Overhead(0.01, order, 1), 3, lookup=0.5)[-1]
    assert "block" == spend(Overhead(0.01, order, 1), 3, ("cache", "block"), lookup=0.5)[-1]
    assert None is spend(Overhead(0.01, order, 1), 3, ("cache",), lookup=0.5)[-1]


def test_when_those_that_may_go_are_off_and_it_is_still_too_much_that_is_known():
    """Not before, and not when it became less."""
    left = ("cache",)
    before, after, less = (Overhead(0.01, ("calls",), 1) for _ in range(3))
    spend(before, 3, lookup=0.5)
    spend(after, 3, left, lookup=0.5)
    spend(less, 3, left, lookup=0.001)

    assert (False, True, False) == (before.stuck, after.stuck, less.stuck)


def test_when_nothing_is_left_nothing_goes():
    """All probes are off."""
    assert None is spend(Overhead(0.01, ALL, 1), 3, (), enter=0.5)[-1]


def test_two_readings_at_the_same_time_are_no_interval():
    """The last reading before the end may come at once after another."""
    overhead = Overhead(0.01, ("block",), 1)
    overhead.judge(1.0, {"issue": 0}, ALL)

    assert None is overhead.judge(1.0, {"issue": SECOND}, ALL)
    assert None is overhead.share
