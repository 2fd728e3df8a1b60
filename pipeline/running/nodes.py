# SPDX-License-Identifier: Apache-2.0
"""The places in a graph where data passes: every boundary is counted here, once, so that no component has to do it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ebpf_sidecar.pipeline.component import ComponentId, OnFailure, Processor, Receiver, Refusal
from ebpf_sidecar.pipeline.config.load import PipelineId
from ebpf_sidecar.pipeline.errors import RefusedError
from ebpf_sidecar.pipeline.frame import Frame, Frames, points
from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.telemetry.ledger import (
    ENQUEUE_FAILED,
    INCOMING,
    OUTGOING,
    RECEIVED,
    REFUSED,
    SEND_FAILED,
    SENT,
    Attributes,
    Instrument,
    Ledger,
)


@dataclass(frozen=True, slots=True)
class ExporterCounters:
    """Counts an exporter's deliveries in the ledger."""

    ledger: Ledger
    attributes: Attributes

    def appear(self) -> None:
        """Show all counters from now on, at zero, so that the first failure is seen as an increase."""
        for instrument in (SENT, SEND_FAILED, ENQUEUE_FAILED):
            self.ledger.add(instrument, 0, self.attributes)

    def sent(self, points: int) -> None:
        """Delivered."""
        self.ledger.add(SENT, points, self.attributes)

    def send_failed(self, points: int) -> None:
        """Refused for good."""
        self.ledger.add(SEND_FAILED, points, self.attributes)

    def enqueue_failed(self, points: int) -> None:
        """Given up before the exporter saw them."""
        self.ledger.add(ENQUEUE_FAILED, points, self.attributes)


class FrameConsumer(Protocol):
    """What leads to an exporter."""

    def consume(self, frames: Frames) -> None:
        """Take a batch; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessorNode:
    """A processor at its place in a pipeline."""

    id: ComponentId
    processor: Processor
    telemetry: Telemetry
    attributes: Attributes
    ledger: Ledger

    def run(self, frames: Frames) -> Frames:
        """What the processor makes of the frames, counted; where it fails, the frames as they came, or none.

        Raises `RefusedError` where the processor does.
        """
        self._count(INCOMING, frames)
        answer: Frames
        try:
            answer = _with_source(self.processor.process(frames), frames)
        except RefusedError:
            raise
        except (Exception, SystemExit) as problem:  # noqa: BLE001 # a processor of a plugin may fail in any way; data must go on
            self.telemetry.error("processing", problem)
            answer = self._without_it(frames)
        else:
            self.telemetry.recovered("processing")
        self._count(OUTGOING, answer)
        return answer

    def _without_it(self, frames: Frames) -> Frames:
        if getattr(self.processor, "on_failure", OnFailure.KEEP) is not OnFailure.DROP:
            return frames
        self.telemetry.dropped(points(frames), "processing_failed")
        return ()

    def _count(self, instrument: Instrument, frames: Frames) -> None:
        self.ledger.add(instrument, points(frames), self.attributes)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Processors in the order written, then the fan-out: first to queues, then to exporters that are called."""

    id: PipelineId
    processors: Sequence[ProcessorNode]
    exporters: Sequence[FrameConsumer]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def consume(self, frames: Frames) -> Refusal | None:
        """Run the frames through; one batch at a time, whichever receiver it came from."""
        with self.lock:
            try:
                for node in self.processors:
                    frames = node.run(frames)
            except RefusedError as refused:
                return Refusal(str(refused), refused.retry_after)
            for exporter in self.exporters:
                exporter.consume(frames)
        return None


@dataclass(frozen=True, slots=True)
class ReceiverNode:
    """A receiver and the pipelines that it feeds."""

    id: ComponentId
    receiver: Receiver
    pipelines: Sequence[Pipeline]
    ledger: Ledger
    closed: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Let the receiver produce."""
        self.receiver.start(self.consume)

    def consume(self, frames: Frames) -> Refusal | None:
        """Count what the receiver made and hand the same immutable frames, with its name on, to each pipeline.

        A batch that one pipeline refuses is refused; pipelines that took it have it.
        """
        frames = tuple(replace(frame, source=self.id) for frame in frames)
        refused = [Refusal("shutting down")] if self.closed.is_set() else self._offer(frames)
        self.ledger.add(REFUSED if refused else RECEIVED, points(frames), (("receiver", str(self.id)),))
        return max(refused, key=lambda refusal: refusal.retry_after, default=None)

    def _offer(self, frames: Frames) -> list[Refusal]:
        answers = [pipeline.consume(frames) for pipeline in self.pipelines]
        return [answer for answer in answers if answer is not None]

    def shutdown(self) -> None:
        """Let the receiver produce a last time, then take nothing more from it."""
        self.receiver.shutdown()
        self.closed.set()


def _with_source(answer: Frames, frames: Frames) -> tuple[Frame, ...]:
    """What a processor made of a receiver's frames: a frame that it built from nothing is about the same rows, as they
    were read at the same moment."""
    if not frames:
        return tuple(answer)
    source, moment = frames[0].source, frames[0].monotonic_nano
    return tuple(frame if frame.source else replace(frame, source=source, monotonic_nano=moment) for frame in answer)
