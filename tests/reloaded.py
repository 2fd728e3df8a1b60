# SPDX-License-Identifier: Apache-2.0
"""Services of parts that write down their life, to be reloaded; shared by several test files."""

import threading
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.clock import Deadline
from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind, Factory, MapCleanup
from ebpf_sidecar.pipeline.config.load import Config, ConfiguredComponent, PipelineId, PipelineSettings, ServiceSettings
from ebpf_sidecar.pipeline.endpoint import Listening
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.running.service import Service
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.testing import FakeSender, frame

ONE = {"": ("r", "p", "e")}
RECEIVER, PROCESSOR, EXPORTER, EXTENSION = (
    ComponentKind.RECEIVER, ComponentKind.PROCESSOR, ComponentKind.EXPORTER, ComponentKind.EXTENSION,
)  # fmt: skip


class Written(Settings):
    """``value``: anything; ``port``: what it needs for itself; ``uses``: an extension; ``fails``: whether to start."""

    value: int = 0
    port: int = 0
    uses: str = ""
    fails: bool = False
    clears: float = 0.0


class WrittenSender(PushSettings):
    """The same for a sender."""

    value: int = 0
    port: int = 0
    uses: str = ""


class Part:
    """A component of any kind."""

    def __init__(self, world, settings, context):
        self.world, self.settings, self.context = world, settings, context
        self.name = f"{context.id}={settings.value}"
        self.batches, self.consumer, self.cleanups = [], None, []
        self.extension = context.extension(settings.uses) if settings.uses else None
        world.parts[str(context.id)] = self
        world.made.append(self)

    def start(self, consumer=None):
        """Write it down, or fail."""
        if self.settings.fails or self.name in self.world.failing:
            raise RuntimeError("no luck")
        if self.settings.port in self.world.ports:
            raise OSError("port in use")
        if self.settings.port:
            self.world.ports[self.settings.port] = self
        self.world.events.append(f"start {self.name}")
        self.context.telemetry.observe("held", "By", "held", lambda: float(self.settings.value))
        self.consumer = consumer

    def shutdown(self):
        """Write it down; a receiver passes on one last batch."""
        self.world.events.append(f"shutdown {self.name}")
        if self.world.ports.get(self.settings.port) is self:
            del self.world.ports[self.settings.port]
        if self.consumer:
            self.consumer([frame("last", [self.settings.value])])

    def process(self, frames):
        """Unchanged."""
        return frames

    def export(self, frames):
        """Keep a batch."""
        self.batches.append(frames)

    @property
    def values(self):
        """The numbers that arrived."""
        return [value for frames in self.batches for each in frames for value in each.values.tolist()]


class Cleaner(Part):
    """A processor that requests a cleanup."""

    @property
    def map_cleanup(self):
        """As written."""
        return MapCleanup("clear_after_read", self.settings.clears)


class Obedient(Part):
    """A receiver with maps."""

    def clean_maps(self, cleanup):
        """Write it down."""
        self.cleanups.append(cleanup)


class Sending(FakeSender):
    """A sender that writes down its life."""

    def __init__(self, world, settings, context):
        super().__init__()
        self.world, self.settings, self.context = world, settings, context
        self.gate = world.gate
        world.parts[str(context.id)] = self
        world.made.append(self)

    def send(self, payload):
        """Once the gate is open."""
        self.gate.wait(10)
        super().send(payload)


@dataclass
class World:
    """Where the parts of all services of a test write."""

    events: list = field(default_factory=list)
    parts: dict = field(default_factory=dict)
    made: list = field(default_factory=list)
    ports: dict = field(default_factory=dict)
    failing: set = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.gate.set()
        self.factories = {}

    def config(self, pipelines, extensions="", **written):
        """``pipelines``: name → (receivers, processors, exporters) as words; ``written``: settings by name. A name
        that begins with "send" is a sender, with "clean" a processor that requests a cleanup."""
        sections, settings = {kind: {} for kind in ComponentKind}, {}
        for name, words in pipelines.items():
            ids = [
                tuple(ComponentId(kind, word) for word in part.split())
                for kind, part in zip((RECEIVER, PROCESSOR, EXPORTER), words, strict=True)
            ]
            settings[PipelineId(name)] = PipelineSettings(*ids)
            for id_ in [id_ for part in ids for id_ in part]:
                sections[id_.kind][id_] = self.configured(id_, written.get(id_.type, {}))
        ids = tuple(ComponentId(EXTENSION, word) for word in extensions.split())
        sections[EXTENSION] = {id_: self.configured(id_, written.get(id_.type, {})) for id_ in ids}
        service = ServiceSettings(settings, ids, shutdown_timeout=5.0)
        return Config(*(sections[kind] for kind in ComponentKind), service=service)

    def configured(self, id_, written):
        """One component."""
        sends = id_.type.startswith("send")
        made = Sending if sends else Cleaner if id_.type.startswith("clean") else Part
        made = Obedient if id_.kind is RECEIVER else made
        settings = WrittenSender if sends else Written

        def create(settings, context):
            return made(self, settings, context)

        def claims(settings):
            return [Listening(f"127.0.0.1:{settings.port}")] if settings.port else []

        factory = self.factories.setdefault(id_, Factory(id_.kind, id_.type, create, settings, claims=claims))
        return ConfiguredComponent(factory, settings(**written))

    def service(self, pipelines, extensions="", **written):
        """A service that was started."""
        service = Service(self.config(pipelines, extensions, **written))
        service.start()
        return service

    def push(self, receiver, *values):
        """Let a receiver pass on one batch."""
        return self.parts[receiver].consumer([frame("m", list(values))])

    def count(self, service, name):
        """The ledger's series by the value of their first attribute."""
        return {attributes[0][1]: value for n, attributes, value in service.ledger.snapshot() if n == name}


def retired(service):
    """Wait for what a reload has left to end."""
    service._retiring.wait(Deadline.after(10.0, service.clock))
    return service


def changed(world, service, pipelines=None, extensions="", **written):
    """The service with another configuration, when the old one has drained."""
    service.reload(world.config(pipelines or ONE, extensions, **written))
    return retired(service)


def picture(service):
    """What is connected to what, with all settings."""
    graph = service.graph
    return {
        "extensions": {str(id_): part.settings for id_, part in graph.extensions.items()},
        "receivers": {
            str(node.id): (node.receiver.settings, [str(pipe.id) for pipe in node.pipelines], node.switch.held)
            for node in graph.receivers
        },
        "pipelines": {
            str(pipe.id): (
                [node.processor.settings for node in pipe.processors],
                [(node.component.settings, node.component.context.id) for node in pipe.exporters],
            )
            for pipe in graph.pipelines
        },
        "made": sorted(map(str, graph.made)),
    }
