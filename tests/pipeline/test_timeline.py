# SPDX-License-Identifier: Apache-2.0
"""The times of readings, whatever happens to the wall clock."""

from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.testing import NOON, FakeClock, RecordedTelemetry
from ebpf_sidecar.pipeline.timeline import Timeline

SECOND = 1_000_000_000
jumps = st.sampled_from([0.0, 0.0, -0.5, -3600.0, -20 * 365 * 86400.0, 5 * 86400.0, 30.0])


@given(st.lists(st.tuples(st.floats(0.001, 100), jumps, st.booleans()), min_size=1, max_size=20))
def test_a_time_is_never_before_a_published_start(steps):
    """It follows the wall clock if possible, and otherwise continues on the monotonic clock."""
    clock, telemetry = FakeClock(), RecordedTelemetry()
    timeline = Timeline(clock, telemetry)
    before = timeline.now()
    start = before.time_unix_nano
    for seconds, jump, starts in steps:
        clock.advance(seconds)
        clock.jump(jump)
        reported = len(telemetry.errors)
        now = timeline.now(start)

        assert start <= now.time_unix_nano
        if clock.time_ns() >= start:
            assert clock.time_ns() == now.time_unix_nano
        else:
            assert now.time_unix_nano - before.time_unix_nano == now.monotonic_nano - before.monotonic_nano
        assert (clock.time_ns() < start) == (len(telemetry.errors) > reported)
        before, start = now, now.time_unix_nano if starts else start


def test_a_correction_is_followed_back_and_forth():
    """Back ends want the right time, and a start an hour ago is not in the way."""
    clock, telemetry = FakeClock(), RecordedTelemetry()
    timeline, seen = Timeline(clock, telemetry), []
    for seconds in (3600.0, -60.0, 86400.0):
        clock.jump(seconds)
        seen.append(timeline.now(NOON).time_unix_nano - NOON)

    assert [3600 * SECOND, 3540 * SECOND, 89940 * SECOND] == seen
    assert [] == telemetry.errors


def test_a_clock_that_catches_up_is_followed_again():
    """Reported when it starts, and when it is over."""
    clock, telemetry = FakeClock(), RecordedTelemetry()
    timeline = Timeline(clock, telemetry)
    timeline.now()
    clock.jump(-10.0)
    clock.advance(1.0)
    ahead = timeline.now(NOON)
    clock.jump(60.0)
    telemetry.recoveries.clear()
    caught_up = timeline.now(NOON)

    assert (NOON + SECOND, SECOND) == (ahead.time_unix_nano, ahead.monotonic_nano)
    assert NOON + 51 * SECOND == caught_up.time_unix_nano
    assert ["clock"] == [stage for stage, _ in telemetry.errors] == telemetry.recoveries
