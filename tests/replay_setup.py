# SPDX-License-Identifier: Apache-2.0
"""A receiver `replay` with everything around it; shared by several test files."""

from ebpf_sidecar.pipeline import ComponentKind
from ebpf_sidecar.pipeline.testing import NOON, FakeClock, RecordedHeartbeat, RecordedTelemetry, Sink, fake_context
from ebpf_sidecar.receivers.replay import ReplayReceiver, ReplaySettings

SECOND = 1_000_000_000


class ReplaySetup:
    """A replay with everything around it."""

    def __init__(self, path, **settings):
        self.clock, self.sink = FakeClock(), Sink()
        self.telemetry, self.heartbeat = RecordedTelemetry(), RecordedHeartbeat()
        context = fake_context(
            ComponentKind.RECEIVER,
            "replay",
            clock=self.clock,
            telemetry=self.telemetry,
            heartbeat=self.heartbeat,
            resource={"service.name": "ebpf-sidecar"},
        )
        self.receiver = ReplayReceiver(ReplaySettings(path=path, **settings), context)

    def play(self, *pauses):
        """Let the receiver play through those pauses; what it passed on: seconds since the start → value of ``c``."""
        self.receiver.start(self.sink)
        try:
            for number, pause in enumerate(pauses, start=1):
                self.sink.until(number)
                self.clock.until_waiting()
                self.clock.advance(pause)
            self.sink.until(len(pauses) + 1)
        finally:
            self.receiver.shutdown()
        return {(f.time_unix_nano - NOON) / SECOND: int(f.values[0]) for f in self.sink.frames if f.name == "c"}
