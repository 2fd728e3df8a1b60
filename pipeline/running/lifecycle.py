# SPDX-License-Identifier: Apache-2.0
"""Connected components: how they start, and how they drain.

Started in this order: extensions, which others may use, then exporters, then processors backwards, then receivers, so
that every consumer is ready before its producers. Stopped from the receivers forwards, so that everything drains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ebpf_sidecar.pipeline.clock import Clock, Deadline, SystemClock
from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.sending.direct_export import DirectExport
from ebpf_sidecar.pipeline.sending.persistent_queue import PersistentQueue
from ebpf_sidecar.pipeline.sending.sending_queue import SendingQueue

from .nodes import Pipeline, ReceiverNode
from .parts import Made, PartKey
from .stopping import quietly, stop_together

log = logging.getLogger(__name__)
_CLOSING_SECONDS = 1.0
"""The most of the drain time that is reserved for closing, in case a queue uses all of it."""
_GIVE_UP_SECONDS = 5.0

QueueNode = SendingQueue | PersistentQueue
ExporterNode = QueueNode | DirectExport


@dataclass(frozen=True, slots=True)
class Graph:
    """All components of a configuration, connected; or some of them, see `only`."""

    extensions: Mapping[ComponentId, Any]
    exporters: Mapping[ComponentId, ExporterNode]
    pipelines: Sequence[Pipeline]
    receivers: Sequence[ReceiverNode]
    feeds: Mapping[ComponentId, tuple[Pipeline, ...]]
    """The pipelines of each receiver: those of a running one lead there once it is connected."""
    made: Mapping[PartKey, Made]

    def only(self, keys: Collection[PartKey]) -> Graph:
        """The same with these components alone, to start or to shut them down."""
        pipelines = [
            replace(pipe, processors=[node for node in pipe.processors if PartKey(node.id, pipe.id) in keys])
            for pipe in self.pipelines
        ]
        return Graph(
            {id_: extension for id_, extension in self.extensions.items() if PartKey(id_) in keys},
            {id_: node for id_, node in self.exporters.items() if PartKey(id_) in keys},
            [pipe for pipe in pipelines if pipe.processors],
            [node for node in self.receivers if PartKey(node.id) in keys],
            self.feeds,
            {key: made for key, made in self.made.items() if key in keys},
        )

    def generation(self, id_: ComponentId) -> int:
        """The number of the graph for which a component other than a processor was created; 0 if it is unknown."""
        made = self.made.get(PartKey(id_))
        return made.generation if made else 0

    def queues_in_memory(self) -> dict[ComponentId, SendingQueue]:
        """The queues of exporters that have one, and not on disk."""
        return {id_: node for id_, node in self.exporters.items() if isinstance(node, SendingQueue)}

    def start(self) -> None:
        """Start everything, from the exporters backwards. Raises `SidecarError` naming the component, after shutting
        down what was started."""
        try:
            for id_, start in self._receiving_side():
                with blamed(id_, "cannot start", self._distribution(id_)):
                    start()
            for node in self.receivers:
                with blamed(node.id, "cannot start", self._distribution(node.id)):
                    node.start()
        except BaseException:  # also when a signal interrupts the start
            self.shutdown(_GIVE_UP_SECONDS)
            raise

    def _distribution(self, id_: ComponentId) -> str:
        return next((made.distribution for key, made in self.made.items() if key.id == id_), "")

    def _receiving_side(self) -> list[tuple[ComponentId, Callable[[], None]]]:
        """The start methods of everything but receivers, in order; ``start`` is optional."""
        exporters = [(id_, part) for id_, node in self.exporters.items() for part in (node.component, node)]
        processors = [(node.id, node.processor) for pipe in self.pipelines for node in reversed(pipe.processors)]
        parts: list[tuple[ComponentId, Any]] = [*self.extensions.items(), *exporters, *processors]
        return [(id_, part.start) for id_, part in parts if hasattr(part, "start")]

    def shutdown(self, seconds: float, clock: Clock | None = None) -> list[str]:
        """Stop everything from the receivers forwards, within ``seconds`` whatever a component does.

        All receivers stop together, then the processors; queues drain in the remaining time, except a part that is
        reserved for closing exporters and extensions. Returns messages about what was lost.
        """
        end = Deadline.after(seconds, clock or SystemClock())
        closing = min(_CLOSING_SECONDS, seconds / 5)
        drained = end.earlier(closing)
        receiving = end.earlier(closing + drained.left() / 2)
        problems = [*self.stop_receivers(receiving), *self._stop_processors(receiving), *self._drain(drained)]
        exporters = {named(id_): partial(_shut, node.component) for id_, node in self.exporters.items()}
        extensions = {named(id_): partial(_shut, extension) for id_, extension in self.extensions.items()}
        for parts, deadline in ((exporters, end.earlier(closing / 2)), (extensions, end)):
            for name in stop_together(parts, deadline):
                log.error("%s: did not stop in time", name)  # loses no data
        for made in self.made.values():
            made.withdraw()
        return problems

    def stop_receivers(self, deadline: Deadline) -> list[str]:
        """Receivers read one last time. Returns messages about those that did not stop in time."""
        late = stop_together({named(node.id): node.shutdown for node in self.receivers}, deadline)
        for node in self.receivers:
            node.closed.set()  # even if the receiver still runs
        return [_late(name) for name in late]

    def _stop_processors(self, deadline: Deadline) -> list[str]:
        """Processors pass on what they have buffered."""
        pipelines = {f"pipeline {pipe.id}": partial(_stop_processors, pipe) for pipe in self.pipelines}
        return [_late(name) for name in stop_together(pipelines, deadline)]

    def _drain(self, deadline: Deadline) -> list[str]:
        """All queues drain concurrently, starting when they are closed."""
        for node in self.exporters.values():
            node.close()
        lost = {id_: node.shutdown(deadline) for id_, node in self.exporters.items()}
        for id_, node in self.exporters.items():
            if isinstance(node, PersistentQueue):  # a later queue of this process finds them there
                self.made[PartKey(id_)].gauges.ledger.leave((("exporter", str(id_)),), node.queued_points())
        return [f"{named(id_)} lost {points} data points" for id_, points in lost.items() if points]


@contextmanager
def blamed(id_: ComponentId, failed: str, origin: str) -> Iterator[None]:
    """Turn any exception into a `SidecarError` that names the component, and its package if known."""
    try:
        yield
    except SidecarError as problem:
        problem.component = problem.component or str(id_)
        raise
    except (Exception, SystemExit) as problem:  # a plugin must not exit the process
        by = f" (a component of {origin})" if origin else ""
        raise SidecarError(f"{failed}: {type(problem).__name__}: {problem}{by}", component=str(id_)) from problem


def named(id_: ComponentId) -> str:
    """A component in messages."""
    return f"{id_.kind.value} {id_}"


def _late(name: str) -> str:
    return f"{name} did not stop in time"


def _stop_processors(pipeline: Pipeline) -> None:
    for node in pipeline.processors:
        quietly(named(node.id), partial(_shut, node.processor))


def _shut(component: object) -> None:
    shutdown = getattr(component, "shutdown", None)
    if shutdown is not None:
        shutdown()
