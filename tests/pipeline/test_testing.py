# SPDX-License-Identifier: Apache-2.0
"""The tools for plugin authors do what they say."""

import threading

import numpy as np
import pytest

from ebpf_sidecar.pipeline import ComponentKind, ExportError, Factory, Kind, RowSet, Settings, SidecarError
from ebpf_sidecar.pipeline.host import Response
from ebpf_sidecar.pipeline.testing import NOON, FakeClock, RecordedRoutes, Sink, check_contract, fake_context, frame


class Doubling(Settings):
    times: int = 2
    """By how much."""


class Double:
    def __init__(self, settings, context):
        self._times = settings.times

    def process(self, frames):
        return [frame.with_values(frame.values * self._times) for frame in frames]


GOOD = Factory(ComponentKind.PROCESSOR, "double", Double, Doubling, description="Doubles every value")


def test_the_contract_accepts_a_good_component():
    """A processor that keeps every rule passes."""
    check_contract(GOOD, {"times": 3})


class Beep:
    """A receiver that passes on one frame when started, and again after shutdown where ``after`` is set."""

    after = False

    def __init__(self, settings, context):
        self._consumer = None

    def start(self, consumer):
        self._consumer = consumer
        consumer([frame("beep", [1])])

    def shutdown(self):
        if self._consumer is not None and self.after:
            self._consumer([frame("late", [1])])


class LateBeep(Beep):
    after = True


class Denied(Beep):
    def start(self, consumer):
        raise SidecarError("no rights; run as root")


class Reject:
    """An exporter whose back end is never there."""

    def __init__(self, settings, context):
        pass

    def export(self, frames):
        raise ExportError("nobody listens")


class Crash(Reject):
    def export(self, frames):
        raise KeyError(len(frames))


@pytest.mark.parametrize(
    ("kind", "create"),
    [(ComponentKind.RECEIVER, Beep), (ComponentKind.RECEIVER, Denied), (ComponentKind.EXPORTER, Reject)],
)
def test_the_contract_accepts_what_a_test_cannot_provide(kind, create):
    """A receiver without rights and an exporter without a back end keep it all the same."""
    check_contract(Factory(kind, "component", create, Doubling, description="Does something"), {})


def test_the_contract_refuses_frames_after_shutdown():
    """What is passed on the second time it is shut down comes too late."""
    late = Factory(ComponentKind.RECEIVER, "late", LateBeep, Doubling, description="Beeps too late")

    with pytest.raises(AssertionError, match="frames were passed on after shutdown"):
        check_contract(late, {})


def test_the_contract_refuses_exporters_that_raise_anything_else():
    """Only an `ExportError` says what to do with the frames."""
    crash = Factory(ComponentKind.EXPORTER, "crash", Crash, Doubling, description="Crashes")

    with pytest.raises(KeyError):
        check_contract(crash, {})


class Undocumented(Settings):
    times: int = 2


class NoProcess:
    def __init__(self, settings, context):
        pass


class Mutating(Double):
    def process(self, frames):
        for each in frames:
            each.values[...] = 0
        return frames


class Forgetful(Double):
    def process(self, frames):
        return None


class Wrapping(Double):
    def process(self, frames):
        return ["no frame"]


class StopsOnce(Double):
    def __init__(self, settings, context):
        super().__init__(settings, context)
        self._open = [1]

    def shutdown(self):
        self._open.pop()


class Leaking(Double):
    daemon = False

    def start(self):
        self._gate = threading.Event()
        threading.Thread(target=self._gate.wait, args=(2.0,), name="leaked", daemon=self.daemon).start()

    def shutdown(self):
        pass


class LeakingDaemon(Leaking):
    daemon = True


@pytest.mark.parametrize(
    ("create", "settings", "said"),
    [
        (Double, Undocumented, "setting times is not documented"),
        (NoProcess, Doubling, "needs a method process"),
        (Mutating, Doubling, "read-only"),
        (Forgetful, Doubling, "process returned NoneType"),
        (StopsOnce, Doubling, "pop from empty list"),
        (Wrapping, Doubling, "process returned a str among frames"),
        (Leaking, Doubling, "threads are left after shutdown: \\['leaked'\\]"),
        (LeakingDaemon, Doubling, "threads are left after shutdown: \\['leaked'\\]"),
    ],
)
def test_the_contract_names_the_broken_rule(create, settings, said):
    """Each violation of the contract has its own message."""
    broken = Factory(ComponentKind.PROCESSOR, "broken", create, settings, description="Breaks a rule")

    with pytest.raises((AssertionError, ValueError, IndexError), match=said):
        check_contract(broken, {})


def test_a_fake_clock_wakes_sleepers_whose_time_has_come():
    """A thread sleeping on the clock continues when the clock is advanced, not before."""
    clock, stopped, woken = FakeClock(), threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (clock.wait(stopped, 10), woken.set()))
    thread.start()
    clock.until_waiting()
    clock.advance(9.9)
    early = woken.is_set()
    clock.advance(0.1)
    thread.join(5)

    assert (early, woken.is_set()) == (False, True)
    assert (NOON + 10_000_000_000, 10.0) == (clock.time_ns(), clock.monotonic())


def test_a_fake_clock_stops_waiting_when_the_event_is_set():
    """Waiting ends with true when the component is stopped."""
    stopped = threading.Event()
    stopped.set()

    assert FakeClock().wait(stopped, 1e9)


def test_a_jump_moves_only_the_wall_clock():
    """The monotonic clock does not follow an administrator."""
    clock = FakeClock()
    clock.jump(-3600)

    assert (NOON - 3_600_000_000_000, 0.0) == (clock.time_ns(), clock.monotonic())


def test_waiting_for_a_thread_that_never_sleeps_times_out():
    """The test fails with the reason instead of hanging."""
    with pytest.raises(TimeoutError, match="0 of 1 threads"):
        FakeClock().until_waiting(timeout=0.01)


def test_a_sink_raises_its_problems_first():
    """As an exporter it can play a back end that recovers."""
    sink = Sink([ExportError("down")])
    with pytest.raises(ExportError, match="down"):
        sink.export([frame("a", [1])])
    sink.export([frame("a", [2])])

    assert [2] == sink.latest("a").values.tolist()


def test_a_sink_names_what_arrived_instead():
    """Looking for a metric that did not arrive names those that did."""
    sink = Sink()
    sink([frame("here", [1])])

    with pytest.raises(LookupError, match=r"no frame \"gone\" arrived; these did: \['here'\]"):
        sink.latest("gone")


def test_frames_are_built_from_lists():
    """Kind, dtype and attributes follow from what is given."""
    counter = frame("c", [1, 2**64 - 1])
    histogram = frame("h", [[1, 2, 3]], bounds=[0.5, 1.0])

    assert (Kind.COUNTER, np.uint64, [{"row": "0"}, {"row": "1"}]) == (
        counter.kind,
        counter.values.dtype,
        counter.rows.records(),
    )
    assert (Kind.HISTOGRAM, [5.5], [{}]) == (histogram.kind, histogram.sums.tolist(), histogram.rows.records())


def test_frames_can_share_rows():
    """A row set that is passed is used as it is."""
    rows = RowSet.of([{"a": "1"}])

    assert rows is frame("x", [1], rows).rows


def test_recorded_routes_answer_and_refuse_a_taken_path():
    """A route is called as a server would, and a second owner is refused until the first one left."""
    routes = RecordedRoutes()
    routes.add(":1", "/x", lambda request: Response(request.headers["accept"].encode()))
    with pytest.raises(SidecarError, match='":1/x" is taken'):
        routes.add(":1", "/x", lambda request: Response(b""))
    answer = routes.get("/x", {"accept": "all"})
    routes.remove(":1", "/x")

    assert (b"all", {}) == (answer.body, routes.handlers)


def test_a_fake_context_records_telemetry():
    """What a component reports can be looked at."""
    context = fake_context(ComponentKind.EXPORTER, "debug/sample")
    context.telemetry.dropped(3, "too old")
    context.telemetry.error("sending", "gone")
    context.telemetry.recovered("sending")
    context.telemetry.observe("size", "By", "bytes held", lambda: 7.0)
    context.telemetry.count("late", "{batch}", "batches that were late", lambda: 3.0)
    context.heartbeat.expect(1.5)
    context.heartbeat.beat()

    assert ("debug", "sample") == (context.id.type, context.id.name)
    assert ({"too old": 3}, [("sending", "gone")], ["sending"]) == (
        context.telemetry.drops,
        context.telemetry.errors,
        context.telemetry.recoveries,
    )
    assert (7.0, 3.0, 1.5, 1) == (
        context.telemetry.gauges["size"](),
        context.telemetry.counters["late"](),
        context.heartbeat.expected,
        context.heartbeat.beats,
    )
