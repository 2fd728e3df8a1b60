# SPDX-License-Identifier: Apache-2.0
"""Graph nodes: data is counted once at every boundary here, so that no component has to count."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ebpf_sidecar.pipeline.component import ComponentId, OnFailure, Processor, Receiver, Refusal
from ebpf_sidecar.pipeline.config.load import PipelineId
from ebpf_sidecar.pipeline.errors import RefusedError
from ebpf_sidecar.pipeline.frame import Frame, Frames, points
from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.rows import RowSet, once_per_row_set
from ebpf_sidecar.pipeline.telemetry.ledger import (
    ENQUEUE_FAILED,
    FILTERED,
    INCOMING,
    OFFERED,
    OUTGOING,
    RECEIVED,
    REFUSED,
    RESTORED,
    SEND_FAILED,
    SENT,
    Attributes,
    Ledger,
)

from .switch import Switch

_ID_SHIFT = 0xD1B54A32D192ED03
"""Times a generation: odd, so that no two are the same, and far apart, so that ids counted from 0 do not meet."""


@dataclass(frozen=True, slots=True)
class ExporterCounters:
    """An exporter's delivery counters in the ledger."""

    ledger: Ledger
    attributes: Attributes

    def appear(self) -> None:
        """Create all counters with value zero, so that the first failure is an increase."""
        for instrument in (OFFERED, SENT, SEND_FAILED, ENQUEUE_FAILED):
            self.ledger.add(instrument, 0, self.attributes)

    def offered(self, points: int) -> None:
        """Count points that were passed to the exporter."""
        self.ledger.add(OFFERED, points, self.attributes)

    def sent(self, points: int) -> None:
        """Count delivered points."""
        self.ledger.add(SENT, points, self.attributes)

    def filtered(self, points: int, reason: str) -> None:
        """Count points that were left out without a loss."""
        [(kind, name)] = self.attributes
        self.ledger.add(FILTERED, points, (("component", f"{kind} {name}"), ("reason", reason)))

    def send_failed(self, points: int) -> None:
        """Count points that were refused permanently."""
        self.ledger.add(SEND_FAILED, points, self.attributes)

    def enqueue_failed(self, points: int) -> None:
        """Count points that were dropped before the exporter got them."""
        self.ledger.add(ENQUEUE_FAILED, points, self.attributes)

    def restored(self, points: int) -> None:
        """Count points that an earlier process left in the queue; those of an earlier queue of this process are
        counted already."""
        self.ledger.add(RESTORED, self.ledger.take_over(self.attributes, points), self.attributes)


class FrameConsumer(Protocol):
    """Takes frames for an exporter."""

    def consume(self, frames: Frames) -> None:
        """Take a batch; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessorNode:
    """A processor in a pipeline."""

    id: ComponentId
    processor: Processor
    telemetry: Telemetry
    attributes: Attributes
    ledger: Ledger

    def run(self, frames: Frames) -> Frames:
        """The processor's output, counted; if it fails, the unchanged frames or none.

        Raises `RefusedError` if the processor does.
        """
        answer: Frames
        try:
            answer = _with_source(self.processor.process(frames), frames)
        except RefusedError:
            raise
        except (Exception, SystemExit) as problem:  # noqa: BLE001 # a plugin's processor may fail in any way; data must still flow
            self.telemetry.error("processing", problem)
            answer = self._without_it(frames)
        else:
            self.telemetry.recovered("processing")
        self.ledger.add_together({INCOMING: points(frames), OUTGOING: points(answer)}, self.attributes)
        return answer

    def _without_it(self, frames: Frames) -> Frames:
        if getattr(self.processor, "on_failure", OnFailure.KEEP) is not OnFailure.DROP:
            return frames
        self.telemetry.dropped(points(frames), "processing_failed")
        return ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Processors in the order written, then the fan-out: first to queues, then to direct exporters.

    ``lock``: shared by pipelines that follow each other in a reload, as they may share processors.
    """

    id: PipelineId
    processors: Sequence[ProcessorNode]
    exporters: Sequence[FrameConsumer]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def consume(self, frames: Frames) -> Refusal | None:
        """Process a batch; one at a time, whichever receiver it came from."""
        with self.lock:
            try:
                for node in self.processors:
                    frames = node.run(frames)
            except RefusedError as refused:
                return Refusal(str(refused), refused.retry_after)
            for exporter in self.exporters:
                exporter.consume(frames)
        return None


class ReceiverNode:
    """A receiver and the pipelines that it feeds.

    ``generation``: a number above 0 if an earlier receiver may have had this id. ``held``: its batches wait until
    they are released.
    """

    def __init__(
        self,
        id: ComponentId,  # noqa: A002 # as in the other nodes
        receiver: Receiver,
        pipelines: Sequence[Pipeline],
        ledger: Ledger,
        generation: int = 0,
        *,
        held: bool = False,
    ) -> None:
        self.id, self.receiver, self.ledger = id, receiver, ledger
        self.switch: Switch[Sequence[Pipeline]] = Switch(pipelines, held=held)
        self.closed = threading.Event()
        self._rows = _own_ids(generation)

    @property
    def pipelines(self) -> Sequence[Pipeline]:
        """Those that get the next batch."""
        return self.switch.target

    def start(self) -> None:
        """Start the receiver; its counters are shown from now on, at zero."""
        for instrument in (RECEIVED, REFUSED):
            self.ledger.add(instrument, 0, (("receiver", str(self.id)),))
        self.receiver.start(self.consume)

    def consume(self, frames: Frames) -> Refusal | None:
        """Count the receiver's frames, set their source, and pass the same immutable frames to each pipeline.

        A batch is refused if any pipeline refuses it; the other pipelines keep it.
        """
        frames = tuple(replace(frame, source=self.id, rows=self._rows(frame.rows)) for frame in frames)
        with self.switch.way() as pipelines:
            refused = [Refusal("shutting down")] if self.closed.is_set() else _offered(frames, pipelines)
        self.ledger.add(REFUSED if refused else RECEIVED, points(frames), (("receiver", str(self.id)),))
        return max(refused, key=lambda refusal: refusal.retry_after, default=None)

    def shutdown(self) -> None:
        """Stop the receiver, which may produce one last time, then accept nothing more from it."""
        if self.switch.held:  # nothing was ever accepted from it
            self.closed.set()
            self.switch.release()
        self.receiver.shutdown()
        self.closed.set()


def _offered(frames: Frames, pipelines: Sequence[Pipeline]) -> list[Refusal]:
    answers = [pipeline.consume(frames) for pipeline in pipelines]
    return [answer for answer in answers if answer is not None]


def _own_ids(generation: int) -> Callable[[RowSet], RowSet]:
    """The rows of a receiver: for what is behind it, they differ from those of an earlier receiver with its id."""
    if not generation:
        return lambda rows: rows
    shift = np.uint64(generation * _ID_SHIFT % 2**64)
    return once_per_row_set(lambda rows: RowSet(rows.ids + shift, rows.columns))


def _with_source(answer: Frames, frames: Frames) -> tuple[Frame, ...]:
    """A processor's output with the receiver as source: frames that the processor built itself describe the same
    receiver's rows, read at the same time."""
    if not frames:
        return tuple(answer)
    source, moment = frames[0].source, frames[0].monotonic_nano
    return tuple(frame if frame.source else replace(frame, source=source, monotonic_nano=moment) for frame in answer)
