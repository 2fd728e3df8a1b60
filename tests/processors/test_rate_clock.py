# SPDX-License-Identifier: Apache-2.0
"""Rates and percentages while the wall clock is set: they are those of the clock that never jumps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rate_processor import OWNERS, SECOND, made, page_cache

from ebpf_sidecar.pipeline.testing import FakeClock, RecordedTelemetry, frame
from ebpf_sidecar.pipeline.timeline import Timeline

jumps = st.sampled_from([0.0, 0.0, -1.0, -7200.0, -20 * 365 * 86400.0, 5 * 86400.0])
steps = st.lists(
    st.tuples(st.floats(0.1, 100), jumps, st.lists(st.integers(0, 50), min_size=2, max_size=2)),
    min_size=2,
    max_size=12,
)


@given(steps)
def test_a_rate_is_the_increase_over_the_time_that_passed(steps):
    """For any sequence of jumps, in every interval and for every row; nothing is reported."""
    clock, reports, telemetry = FakeClock(), RecordedTelemetry(), RecordedTelemetry()
    timeline, processor, total = Timeline(clock, telemetry), made(reports, metrics=["c"]), np.zeros(2, np.uint64)
    start, before = timeline.now().time_unix_nano, None
    for seconds, jump, grown in steps:
        clock.advance(seconds)
        clock.jump(jump)
        total = total + np.array(grown, np.uint64)
        now = timeline.now(start)
        parts = {"start_time_unix_nano": start, "monotonic_nano": now.monotonic_nano}
        counter = frame("c", total, OWNERS, time_unix_nano=now.time_unix_nano, **parts)
        rates = [each.values.tolist() for each in processor.process([counter]) if each.name == "c.rate"]
        passed = before is not None and (now.monotonic_nano - before) / SECOND

        assert rates == ([pytest.approx([each / passed for each in grown])] if passed else [])
        before = now.monotonic_nano

    assert [] == reports.errors


def test_a_hit_rate_is_that_of_the_interval_after_the_clock_was_set_back():
    """Not the average since the start, which every reading looked like a restart to."""
    processor = made()
    for second, hits in ((0, 10), (1, 10), (2, 110)):
        wall = 10_000 if second < 2 else 0
        frames = page_cache(wall + second, [hits, hits], [0, 0])
        answer = processor.process([replace(each, monotonic_nano=second * SECOND) for each in frames])
    [found] = [each for each in answer if each.name == "ebpf.cache.hit_rate"]

    assert [100.0, 100.0] == found.values.tolist()


def test_a_restart_within_the_interval_is_seen_whatever_the_wall_clock_did():
    """A start time after the row's last reading, on today's clock, though that reading was later by yesterday's."""
    processor, hour = made(metrics=["c"]), 3600 * SECOND
    for time, start, monotonic, value in ((10 * hour, 9 * hour, 10, 5), (2 * hour, 2 * hour - 2 * SECOND, 14, 8)):
        parts = {"time_unix_nano": time, "start_time_unix_nano": start, "monotonic_nano": monotonic * SECOND}
        answer = processor.process([frame("c", [value], **parts)])
    [rate] = [each for each in answer if each.name == "c.rate"]

    assert [4.0] == rate.values.tolist()
