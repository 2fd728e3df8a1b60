# SPDX-License-Identifier: Apache-2.0
"""An exporter that is called at once: no thread, one call at a time, and every point accounted for."""

import threading

from observed_queue import RecordedCounters
from waiting import until

from ebpf_sidecar.pipeline.clock import Deadline, SystemClock
from ebpf_sidecar.pipeline.errors import ExportError
from ebpf_sidecar.pipeline.payload import LeftOut
from ebpf_sidecar.pipeline.sending.direct_export import DirectExport
from ebpf_sidecar.pipeline.testing import RecordedTelemetry, Sink, frame


class Direct(DirectExport):
    """One that records what happens to it."""

    def __init__(self, exporter):
        self.accounting, self.telemetry = RecordedCounters(), RecordedTelemetry()
        super().__init__(exporter, self.accounting, self.telemetry)


def after(seconds):
    """A deadline in real seconds."""
    return Deadline.after(seconds, SystemClock())


def test_a_batch_has_arrived_when_the_call_returns():
    """Nothing waits, and no thread was needed."""
    sink = Sink()
    export = Direct(sink)
    export.consume([frame("m", [1, 2])])

    assert [1, 2] == sink.frames[0].values.tolist()
    assert {"sent": 2} == export.accounting


def test_a_failure_loses_that_batch_alone_and_is_named():
    """Whatever the exporter raises; the recovery is reported."""
    export = Direct(Sink([ExportError("full"), SystemExit(3)]))
    for number in range(3):
        export.consume([frame("m", [number])])

    assert {"sent": 1, "send_failed": 2} == export.accounting
    assert {"refused": 2} == export.telemetry.drops
    assert ["exporting"] == export.telemetry.recoveries


def test_what_an_exporter_leaves_out_is_not_sent():
    """No point counts twice; nonsense counts as nothing left out."""
    lost, more = LeftOut(2, "twice", lost=True), LeftOut(9, "empty", lost=False)
    for answer, expected, drops in (
        ([lost], {"sent": 1, "send_failed": 2}, {"twice": 2}),
        ([more], {"filtered empty": 3}, {}),
        ([lost, more], {"filtered empty": 1, "send_failed": 2}, {"twice": 2}),
        ("all", {"sent": 3}, {}),
        (2, {"sent": 3}, {}),
    ):
        sink = Sink()
        sink.export = lambda frames, answer=answer: answer
        export = Direct(sink)
        export.consume([frame("m", [1, 2, 3])])

        assert expected == export.accounting
        assert drops == export.telemetry.drops


class Hanging(Sink):
    """An exporter that blocks until it is released, and counts concurrent calls."""

    def __init__(self):
        super().__init__()
        self.entered, self.released, self.inside, self.most = threading.Event(), threading.Event(), 0, 0

    def export(self, frames):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        self.released.wait(10)
        self.inside -= 1
        super().export(frames)


def test_calls_come_one_at_a_time():
    """Also from the pipelines of two receivers."""
    sink = Hanging()
    export = Direct(sink)
    threads = [threading.Thread(target=export.consume, args=([frame("m", [1])],)) for _ in range(3)]
    for thread in threads:
        thread.start()
    sink.entered.wait(5)
    sink.released.set()
    for thread in threads:
        thread.join(5)

    assert 1 == sink.most
    assert {"sent": 3} == export.accounting


def test_what_hangs_at_the_end_is_lost_once_and_what_comes_later_too():
    """The account is closed: a call that returns after all changes nothing."""
    sink = Hanging()
    export = Direct(sink)
    thread = threading.Thread(target=export.consume, args=([frame("m", [1, 2])],))
    thread.start()
    sink.entered.wait(5)
    lost = export.shutdown(after(0.01))
    sink.released.set()
    thread.join(5)
    export.consume([frame("m", [3])])

    assert 2 == lost
    assert {"send_failed": 2, "enqueue_failed": 1} == export.accounting
    assert {"shutdown": 3} == export.telemetry.drops


def test_a_batch_that_waits_for_one_that_hangs_is_not_exported_after_the_end():
    """The exporter was shut down meanwhile; both batches are lost, once."""
    sink = Hanging()
    export = Direct(sink)
    threads = [threading.Thread(target=export.consume, args=([frame("m", [1])],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    sink.entered.wait(5)
    assert until(lambda: export._account.in_flight == 2)
    lost = export.shutdown(after(0.01))
    sink.released.set()
    for thread in threads:
        thread.join(5)

    assert (2, 1) == (lost, len(sink.frames))
    assert {"send_failed": 2} == export.accounting
