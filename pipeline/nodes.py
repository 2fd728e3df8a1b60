# SPDX-License-Identifier: Apache-2.0
"""The places in a graph where data passes: every boundary is counted here, once, so that no component has to do it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .component import ComponentId, Processor, Receiver, Telemetry
from .config import PipelineId
from .frame import Frame, Frames, points
from .ledger import (
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
from .sending import SendingQueue


@dataclass(frozen=True, slots=True)
class ExporterAccounting:
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


@dataclass(frozen=True, slots=True)
class Stage:
    """A processor at its place in a pipeline."""

    id: ComponentId
    processor: Processor
    telemetry: Telemetry
    attributes: Attributes
    ledger: Ledger

    def run(self, frames: Frames) -> Frames:
        """What the processor makes of the frames, counted; the frames as they came when it fails."""
        self._count(INCOMING, frames)
        try:
            answer = _of_the_same_source(self.processor.process(frames), frames)
            self._count(OUTGOING, answer)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 # a processor of a plugin may fail in any way; data must go on
            self.telemetry.error("processing", problem)
            self._count(OUTGOING, frames)
            return frames
        self.telemetry.recovered("processing")
        return answer

    def _count(self, instrument: Instrument, frames: Frames) -> None:
        self.ledger.add(instrument, points(frames), self.attributes)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Processors in the order written, then the fan-out to the exporters' queues."""

    id: PipelineId
    stages: Sequence[Stage]
    queues: Sequence[SendingQueue]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def consume(self, frames: Frames) -> None:
        """Run the frames through; one batch at a time, whichever receiver it came from."""
        with self.lock:
            for stage in self.stages:
                frames = stage.run(frames)
            for queue in self.queues:
                queue.offer(frames)


@dataclass(frozen=True, slots=True)
class Source:
    """A receiver and the pipelines that it feeds."""

    id: ComponentId
    receiver: Receiver
    pipelines: Sequence[Pipeline]
    ledger: Ledger
    closed: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Let the receiver produce."""
        self.receiver.start(self.consume)

    def consume(self, frames: Frames) -> None:
        """Count what the receiver made and hand the same immutable frames, with its name on, to each pipeline."""
        frames = tuple(replace(frame, source=self.id) for frame in frames)
        closed = self.closed.is_set()  # asked once: what is counted as received is passed on
        self.ledger.add(REFUSED if closed else RECEIVED, points(frames), (("receiver", str(self.id)),))
        if not closed:
            for pipeline in self.pipelines:
                pipeline.consume(frames)

    def shutdown(self) -> None:
        """Let the receiver produce a last time, then take nothing more from it."""
        self.receiver.shutdown()
        self.closed.set()


def _of_the_same_source(answer: Frames, frames: Frames) -> tuple[Frame, ...]:
    """What a processor made of a receiver's frames: a frame that it built from nothing is about the same rows, as they
    were read at the same moment."""
    if not frames:
        return tuple(answer)
    source, moment = frames[0].source, frames[0].monotonic_nano
    return tuple(frame if frame.source else replace(frame, source=source, monotonic_nano=moment) for frame in answer)
