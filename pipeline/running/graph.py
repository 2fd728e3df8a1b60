# SPDX-License-Identifier: Apache-2.0
"""A configuration as connected components: creates them, or takes them over from the graph that a reload replaces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
from ebpf_sidecar.pipeline.telemetry.ledger import QUEUE_CAPACITY, QUEUE_SIZE, QUEUED, Ledger, Published

from .lifecycle import ExporterNode, Graph, QueueNode, blamed
from .nodes import ExporterCounters, Pipeline, ProcessorNode, ReceiverNode
from .parts import Made, PartKey, UsedExtensions

NewContext = Callable[[ComponentId], Context]
NOTHING = Graph({}, {}, (), (), {}, {})


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The running graph, and the components of it that its successor takes over.

    ``generation``: how many graphs there were before the successor; new receivers are held until they are released.
    """

    graph: Graph = NOTHING
    kept: Collection[PartKey] = ()
    generation: int = 0


def build(config: Config, new_context: NewContext, ledger: Ledger, before: Predecessor | None = None) -> Graph:
    """Create every component that a pipeline or the service uses, connected but not started.

    Components that are kept from ``before`` stay connected as they were. Raises `ConfigError` if pipelines request
    different map cleanups of a receiver, `SidecarError` if a component cannot be created; either way, components that
    were created are withdrawn.
    """
    builder = _Builder(config, new_context, ledger, before or Predecessor())
    try:
        return builder.graph()
    except BaseException:
        for key, made in builder.made.items():
            if key not in builder.before.kept:
                made.withdraw()
        raise


@dataclass(slots=True)
class _Builder:
    config: Config
    new_context: NewContext
    ledger: Ledger
    before: Predecessor
    extensions: dict[ComponentId, Any] = field(default_factory=dict)
    made: dict[PartKey, Made] = field(default_factory=dict)

    def graph(self) -> Graph:
        config = self.config
        for id_ in config.service.extensions:
            self.extensions[id_] = self._extension(id_)
        exporters = {id_: self._exporter_node(id_) for id_ in _used(config, "exporters")}
        pipelines = {id_: self._pipeline(id_, each, exporters) for id_, each in config.service.pipelines.items()}
        feeds = {
            id_: tuple(pipelines[p] for p, settings in config.service.pipelines.items() if id_ in settings.receivers)
            for id_ in _used(config, "receivers")
        }
        receivers = tuple(self._receiver_node(id_, fed) for id_, fed in feeds.items())
        return Graph(self.extensions, exporters, tuple(pipelines.values()), receivers, feeds, self.made)

    def _kept(self, key: PartKey) -> bool:
        """Whether a component is taken over, with what is known about it."""
        if key not in self.before.kept:
            return False
        self.made[key] = self.before.graph.made[key]
        return True

    def _extension(self, id_: ComponentId) -> Any:
        if self._kept(PartKey(id_)):
            return self.before.graph.extensions[id_]
        return self._create(PartKey(id_), self.config.extensions[id_])[0]

    def _create(self, key: PartKey, configured: ConfiguredComponent) -> tuple[Any, Made]:
        extensions = UsedExtensions(dict(self.extensions))
        context = replace(self.new_context(key.id), extensions=extensions)
        published, generation = Published(self.ledger), self.before.generation
        made = self.made[key] = Made(context, extensions, published, configured.distribution, generation)
        with blamed(key.id, "cannot be created", configured.distribution):
            component = configured.factory.create(configured.settings, context)
        if problem := method_problem(key.id.kind, component, sends=configured.factory.sends):
            origin = configured.distribution or "an unknown distribution"
            raise PluginError(f"{problem}; update or remove {origin}", component=str(key.id))
        return component, made

    def _exporter_node(self, id_: ComponentId) -> ExporterNode:
        if self._kept(PartKey(id_)):
            return self.before.graph.exporters[id_]
        configured = self.config.exporters[id_]
        exporter, made = self._create(PartKey(id_), configured)
        attributes, context = (("exporter", str(id_)),), made.context
        accounting = ExporterCounters(self.ledger, attributes)
        accounting.appear()
        if not isinstance(configured.settings, PushSettings):
            direct = DirectExport(exporter, accounting, context.telemetry)
            made.gauges.account(attributes, direct.balance)
            return direct
        queue = _queue(exporter, configured.settings, accounting, context)
        made.gauges.account(attributes, queue.balance)
        made.gauges.gauge(QUEUE_SIZE, attributes, queue.size)
        made.gauges.gauge(QUEUED, attributes, queue.queued_points)
        made.gauges.gauge(QUEUE_CAPACITY, attributes, lambda: queue.capacity)
        return queue

    def _pipeline(
        self, id_: PipelineId, settings: PipelineSettings, exporters: Mapping[ComponentId, ExporterNode]
    ) -> Pipeline:
        former = {pipe.id: pipe for pipe in self.before.graph.pipelines}.get(id_)
        nodes = {node.id: node for node in former.processors} if former else {}
        processors = [self._processor_node(PartKey(each, id_), nodes.get(each)) for each in settings.processors]
        pipeline = Pipeline(id_, processors, _queues_first(exporters, settings))
        return replace(pipeline, lock=former.lock) if former else pipeline

    def _processor_node(self, key: PartKey, former: ProcessorNode | None) -> ProcessorNode:
        if former is not None and self._kept(key):
            return former
        processor, made = self._create(key, self.config.processors[key.id])
        attributes = (("processor", str(key.id)), ("pipeline", str(key.pipeline)))
        return ProcessorNode(key.id, processor, made.context.telemetry, attributes, self.ledger)

    def _receiver_node(self, id_: ComponentId, fed: Sequence[Pipeline]) -> ReceiverNode:
        if self._kept(PartKey(id_)):
            [node] = [node for node in self.before.graph.receivers if node.id == id_]
            requested_cleanup(id_, fed)  # raises
            return node
        receiver, _ = self._create(PartKey(id_), self.config.receivers[id_])
        request = requested_cleanup(id_, fed)
        if request is not None and isinstance(receiver, CleansMaps):
            receiver.clean_maps(request)
        generation = self.before.generation
        return ReceiverNode(id_, receiver, fed, self.ledger, generation, held=generation > 0)


def _used(config: Config, part: str) -> list[ComponentId]:
    """The components of one section that pipelines use, each once, in order of appearance."""
    pipelines = config.service.pipelines.values()
    return list(dict.fromkeys(id_ for pipeline in pipelines for id_ in getattr(pipeline, part)))


def _queues_first(exporter_nodes: Mapping[ComponentId, ExporterNode], settings: PipelineSettings) -> list[ExporterNode]:
    """A pipeline's exporters, queues first: direct exporters may be slow, and must not delay the others' batches."""
    chosen = [exporter_nodes[id_] for id_ in settings.exporters]
    return sorted(chosen, key=lambda node: isinstance(node, DirectExport))


def _queue(sender: Sender, settings: PushSettings, accounting: ExporterCounters, context: Context) -> QueueNode:
    name = settings.sending_queue.storage
    parts = (accounting, context.telemetry, context.clock)
    if name is None:
        return SendingQueue(str(context.id), sender, settings, *parts)
    storage = context.extension(name)
    if not isinstance(storage, Storage):
        raise SidecarError(f'extension "{name}" stores nothing; name a file_storage', component=str(context.id))
    return PersistentQueue(str(context.id), sender, settings, storage, *parts)


def requested_cleanup(id_: ComponentId, pipelines: Sequence[Pipeline]) -> MapCleanup | None:
    """What the processors of a receiver's pipelines request of it, if anything. Raises `ConfigError` if they differ."""
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
    return next(iter(requests), None)
