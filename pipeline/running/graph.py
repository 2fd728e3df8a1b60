# SPDX-License-Identifier: Apache-2.0
"""A configuration as connected components.

Built and started in this order: extensions, which others may use, then exporters, then processors backwards, then
receivers, so that every consumer is ready before its producers. Stopped from the receivers forwards, so that everything
drains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ebpf_sidecar.pipeline.clock import Clock, Deadline, SystemClock
from ebpf_sidecar.pipeline.component import CleansMaps, ComponentId, MapCleanup, Sender, UpstreamRequest
from ebpf_sidecar.pipeline.component_methods import method_problem
from ebpf_sidecar.pipeline.config.load import Config, ConfiguredComponent, PipelineId, PipelineSettings
from ebpf_sidecar.pipeline.errors import ConfigError, Mistake, PluginError, SidecarError
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.payload_store import Storage
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.sending.direct_export import DirectExport
from ebpf_sidecar.pipeline.sending.persistent_queue import PersistentQueue
from ebpf_sidecar.pipeline.sending.sending_queue import SendingQueue
from ebpf_sidecar.pipeline.telemetry.ledger import QUEUE_CAPACITY, QUEUE_SIZE, QUEUED, Ledger

from .nodes import ExporterCounters, Pipeline, ProcessorNode, ReceiverNode
from .stopping import quietly, stop_together

log = logging.getLogger(__name__)
_CLOSING_SECONDS = 1.0
"""The most of the drain time that is reserved for closing, in case a queue uses all of it."""
_GIVE_UP_SECONDS = 5.0

NewContext = Callable[[ComponentId], Context]
QueueNode = SendingQueue | PersistentQueue
ExporterNode = QueueNode | DirectExport


@dataclass(frozen=True, slots=True)
class Graph:
    """All components of a configuration, connected."""

    extensions: Mapping[ComponentId, Any]
    exporters: Mapping[ComponentId, ExporterNode]
    pipelines: Sequence[Pipeline]
    receivers: Sequence[ReceiverNode]
    ledger: Ledger
    distributions: Mapping[ComponentId, str]
    """The packages that provide the components, if known."""

    def start(self) -> None:
        """Start everything, from the exporters backwards. Raises `SidecarError` naming the component, after shutting
        down what was started."""
        try:
            for id_, start in self._receiving_side():
                with _blamed(id_, "cannot start", self.distributions.get(id_, "")):
                    start()
            for node in self.receivers:
                with _blamed(node.id, "cannot start", self.distributions.get(node.id, "")):
                    node.start()
        except BaseException:  # also when a signal interrupts the start
            self.shutdown(_GIVE_UP_SECONDS)
            raise

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
        problems = self._stop_receiving(end.earlier(closing + drained.left() / 2))
        problems += self._drain(drained)
        exporters = {_named(id_): partial(_shut, node.component) for id_, node in self.exporters.items()}
        extensions = {_named(id_): partial(_shut, extension) for id_, extension in self.extensions.items()}
        for parts, deadline in ((exporters, end.earlier(closing / 2)), (extensions, end)):
            for name in stop_together(parts, deadline):
                log.error("%s: did not stop in time", name)  # loses no data
        for id_ in self._components():
            self.ledger.forget(id_)
        return problems

    def _components(self) -> set[ComponentId]:
        processors = {node.id for pipeline in self.pipelines for node in pipeline.processors}
        return {*self.extensions, *self.exporters, *processors, *(node.id for node in self.receivers)}

    def _stop_receiving(self, deadline: Deadline) -> list[str]:
        """Receivers read one last time, and processors pass on what they have buffered."""
        late = stop_together({_named(node.id): node.shutdown for node in self.receivers}, deadline)
        for node in self.receivers:
            node.closed.set()  # even if the receiver still runs
        late += stop_together(
            {f"pipeline {pipe.id}": partial(_stop_processors, pipe) for pipe in self.pipelines}, deadline
        )
        return [f"{name} did not stop in time" for name in late]

    def _drain(self, deadline: Deadline) -> list[str]:
        """All queues drain concurrently, starting when they are closed."""
        for node in self.exporters.values():
            node.close()
        lost = {id_: node.shutdown(deadline) for id_, node in self.exporters.items()}
        return [f"{_named(id_)} lost {points} data points" for id_, points in lost.items() if points]


def build(config: Config, new_context: NewContext, ledger: Ledger) -> Graph:
    """Create every component that a pipeline or the service uses, connected but not started.

    Raises `ConfigError` if pipelines request different map cleanups of a receiver, `SidecarError` if a component cannot
    be created.
    """
    extensions: dict[ComponentId, Any] = {}
    given, new_context = new_context, lambda id_: replace(given(id_), extensions=dict(extensions))
    for id_ in config.service.extensions:
        extensions[id_] = _create(id_, config.extensions[id_], new_context)
    exporter_nodes = {
        id_: _exporter_node(id_, config.exporters[id_], new_context, ledger) for id_ in _used(config, "exporters")
    }
    pipelines = {
        id_: Pipeline(
            id_, _processor_nodes(id_, settings, config, new_context, ledger), _queues_first(exporter_nodes, settings)
        )
        for id_, settings in config.service.pipelines.items()
    }
    receivers = []
    for id_ in _used(config, "receivers"):
        fed = [pipelines[p] for p, settings in config.service.pipelines.items() if id_ in settings.receivers]
        receiver = _create(id_, config.receivers[id_], new_context)
        _request_cleanup(id_, receiver, fed)
        receivers.append(ReceiverNode(id_, receiver, fed, ledger))
    parts = (config.receivers, config.processors, config.exporters, config.extensions)
    distributions = {id_: configured.distribution for part in parts for id_, configured in part.items()}
    return Graph(extensions, exporter_nodes, tuple(pipelines.values()), tuple(receivers), ledger, distributions)


def _used(config: Config, part: str) -> list[ComponentId]:
    """The components of one section that pipelines use, each once, in order of appearance."""
    pipelines = config.service.pipelines.values()
    return list(dict.fromkeys(id_ for pipeline in pipelines for id_ in getattr(pipeline, part)))


def _create(id_: ComponentId, configured: ConfiguredComponent, new_context: NewContext) -> Any:
    with _blamed(id_, "cannot be created", configured.distribution):
        component = configured.factory.create(configured.settings, new_context(id_))
    if problem := method_problem(id_.kind, component, sends=configured.factory.sends):
        origin = configured.distribution or "an unknown distribution"
        raise PluginError(f"{problem}; update or remove {origin}", component=str(id_))
    return component


def _queues_first(exporter_nodes: Mapping[ComponentId, ExporterNode], settings: PipelineSettings) -> list[ExporterNode]:
    """A pipeline's exporters, queues first: direct exporters may be slow, and must not delay the others' batches."""
    chosen = [exporter_nodes[id_] for id_ in settings.exporters]
    return sorted(chosen, key=lambda node: isinstance(node, DirectExport))


def _exporter_node(
    id_: ComponentId, configured: ConfiguredComponent, new_context: NewContext, ledger: Ledger
) -> ExporterNode:
    context = new_context(id_)
    attributes = (("exporter", str(id_)),)
    exporter = _create(id_, configured, lambda _: context)
    accounting = ExporterCounters(ledger, attributes)
    accounting.appear()
    if not isinstance(configured.settings, PushSettings):
        return DirectExport(exporter, accounting, context.telemetry)
    queue = _queue(exporter, configured.settings, accounting, context)
    ledger.gauge(QUEUE_SIZE, attributes, queue.size)
    ledger.gauge(QUEUED, attributes, queue.queued_points)
    ledger.gauge(QUEUE_CAPACITY, attributes, lambda: queue.capacity)
    return queue


def _queue(sender: Sender, settings: PushSettings, accounting: ExporterCounters, context: Context) -> QueueNode:
    name = settings.sending_queue.storage
    parts = (accounting, context.telemetry, context.clock)
    if name is None:
        return SendingQueue(str(context.id), sender, settings, *parts)
    storage = context.extension(name)
    if not isinstance(storage, Storage):
        raise SidecarError(f'extension "{name}" stores nothing; name a file_storage', component=str(context.id))
    return PersistentQueue(str(context.id), sender, settings, storage, *parts)


def _processor_nodes(
    pipeline: PipelineId, settings: PipelineSettings, config: Config, new_context: NewContext, ledger: Ledger
) -> list[ProcessorNode]:
    processors = []
    for id_ in settings.processors:
        context = new_context(id_)
        processor = _create(id_, config.processors[id_], lambda _, context=context: context)  # type: ignore[misc] # a default argument binds now
        attributes = (("processor", str(id_)), ("pipeline", str(pipeline)))
        processors.append(ProcessorNode(id_, processor, context.telemetry, attributes, ledger))
    return processors


def _request_cleanup(id_: ComponentId, receiver: object, pipelines: Sequence[Pipeline]) -> None:
    """Pass the processors' requests upstream, which happens only while the graph is built."""
    requests: dict[MapCleanup, str] = {
        node.processor.map_cleanup: f"processors::{node.id} in service::pipelines::{pipeline.id}"
        for pipeline in pipelines
        for node in pipeline.processors
        if isinstance(node.processor, UpstreamRequest)
    }
    if len(requests) > 1:
        where = " and ".join(requests.values())
        message = f'receiver "{id_}" gets different map cleanup requests from {where}; use the same settings in both'
        raise ConfigError([Mistake(f"receivers::{id_}", message)])
    if isinstance(receiver, CleansMaps):
        for request in requests:
            receiver.clean_maps(request)


@contextmanager
def _blamed(id_: ComponentId, failed: str, origin: str) -> Iterator[None]:
    """Turn any exception into a `SidecarError` that names the component, and its package if known."""
    try:
        yield
    except SidecarError as problem:
        problem.component = problem.component or str(id_)
        raise
    except (Exception, SystemExit) as problem:  # a plugin must not exit the process
        by = f" (a component of {origin})" if origin else ""
        raise SidecarError(f"{failed}: {type(problem).__name__}: {problem}{by}", component=str(id_)) from problem


def _named(id_: ComponentId) -> str:
    return f"{id_.kind.value} {id_}"


def _stop_processors(pipeline: Pipeline) -> None:
    for node in pipeline.processors:
        quietly(_named(node.id), partial(_shut, node.processor))


def _shut(component: object) -> None:
    shutdown = getattr(component, "shutdown", None)
    if shutdown is not None:
        shutdown()
