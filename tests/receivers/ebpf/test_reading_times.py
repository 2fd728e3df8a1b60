# SPDX-License-Identifier: Apache-2.0
"""Times and start times of the receiver's frames, whatever happens to the wall clock, and to rows meanwhile."""

from contextlib import ExitStack
from types import SimpleNamespace

from counted_maps import FakeMap, tally_of
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.testing import NOON, FakeClock, RecordedTelemetry, frame
from ebpf_sidecar.pipeline.timeline import Timeline
from ebpf_sidecar.receivers.ebpf.collection import ProbeCollection

SECOND = 1_000_000_000
jumps = st.sampled_from([0.0, 0.0, -1.0, -7200.0, -20 * 365 * 86400.0, 5 * 86400.0])
steps = st.lists(st.tuples(st.sets(st.integers(0, 4)), st.floats(0.1, 20), jumps), min_size=1, max_size=15)


@given(steps)
def test_a_start_never_moves_and_no_row_is_read_before_it(steps):
    """Also of rows that were given up for others and return, or share a row: they have another identity."""
    clock, kernel_map, starts = FakeClock(NOON), FakeMap(), {}
    timeline = Timeline(clock, RecordedTelemetry())
    map_totals = tally_of(kernel_map, limit=2, stale_after=5.0, forget_after=5.0, start=timeline.now().time_unix_nano)
    for counted, seconds, jump in steps:
        clock.advance(seconds)
        clock.jump(jump)
        for who in counted:
            kernel_map.count(who)
        now = timeline.now(map_totals.newest_start)
        map_totals.clear(map_totals.update(now.monotonic_nano / 1e9, now.time_unix_nano, ahead=now.ahead))
        snapshot = map_totals.snapshot()
        for row, start in zip(snapshot.rows.ids.tolist(), snapshot.starts.tolist(), strict=True):
            assert starts.setdefault(row, start) == start <= now.time_unix_nano


class Played:
    """Everything that a collection uses, where time passes as the test decides."""

    def __init__(self, clock, slow):
        self.clock, self.slow, self.seen = clock, slow, []
        self.all_totals, self.found, self.start = {}, {}, NOON

    def passes(self, place):
        if place == self.slow:
            self.clock.advance(1.0)

    def when_due(self, now):
        self.passes("canary")

    def notice(self, frames):
        """Nothing to learn from."""

    def update(self, now=None, time=None, *, ahead=False):
        self.passes("cgroups" if time is None else "maps")
        self.seen += [] if time is None else [(now, time)]

    def frames(self, reading_time, *_):
        return [frame("c", [1], time_unix_nano=reading_time.time_unix_nano)]


def collected(slow):
    """What was read of maps, and the frames, where a second passes at a place."""
    clock = FakeClock()
    clock.advance(100.0)
    played = Played(clock, slow)
    still = SimpleNamespace(update=lambda: None)
    parts = {"reading": played, "own": played, "programs": played, "canary": played, "watch": played}
    timeline = Timeline(clock, RecordedTelemetry())
    tree = SimpleNamespace(start_reading=set)
    collection = ProbeCollection(
        **parts,
        tree=tree,
        loaded=None,
        resource={},
        cpu_hotplug=still,
        timeline=timeline,
        shedding=None,
        held=ExitStack(),
    )
    return played.seen, collection.collect()


def test_a_time_is_that_of_the_reading():
    """Not that of its start: a canary or a walk over cgroups may have waited a second for a disk."""
    for slow, waited in (("", 0), ("canary", 1), ("cgroups", 1)):
        seen, frames = collected(slow)
        reading_time = NOON + (100 + waited) * SECOND

        assert [(100.0 + waited, reading_time)] == seen
        assert {(reading_time, (100 + waited) * SECOND)} == {
            (each.time_unix_nano, each.monotonic_nano) for each in frames
        }


def test_a_row_counts_since_the_reading_before_its_first():
    """It had counted nothing by then; exporters know from it what is new."""
    kernel_map = FakeMap()
    map_totals = tally_of(kernel_map, start=NOON)
    for second, who in ((10, 1), (20, 2), (30, 3)):
        kernel_map.count(who)
        map_totals.update(float(second), NOON + second * SECOND)
    rows = map_totals.snapshot()
    starts = dict(zip([record["who"] for record in rows.rows.records()], rows.starts.tolist(), strict=True))

    assert {"1": NOON, "2": NOON + 10 * SECOND, "3": NOON + 20 * SECOND} == starts


def test_a_wall_clock_that_was_set_back_is_followed_again_however_many_rows_start():
    """As long as it was set back by, times continue from where they were; new rows must not make that last forever."""
    clock, kernel_map, ahead = FakeClock(NOON), FakeMap(), []
    timeline = Timeline(clock, RecordedTelemetry())
    map_totals = tally_of(kernel_map, start=timeline.now().time_unix_nano)
    for who in range(12):
        clock.advance(10.0)
        clock.jump(-60.0 if who == 3 else 0.0)
        kernel_map.count(who)
        now = timeline.now(map_totals.newest_start)
        map_totals.update(now.monotonic_nano / 1e9, now.time_unix_nano, ahead=now.ahead)
        ahead.append(now.time_unix_nano - clock.time_ns())

    assert [0] * 3 + [60 * SECOND] * 4 + [0] * 5 == ahead
