# SPDX-License-Identifier: Apache-2.0
"""Components that write down their life, connected as a configuration would; shared by several test files."""

import logging
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind, Factory
from ebpf_sidecar.pipeline.config.load import Config, ConfiguredComponent, PipelineId, PipelineSettings, ServiceSettings
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.running.graph import build
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.telemetry.component import ComponentTelemetry
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger
from ebpf_sidecar.pipeline.testing import FakeSender, Sink, fake_context

RECEIVER, PROCESSOR, EXPORTER = ComponentKind.RECEIVER, ComponentKind.PROCESSOR, ComponentKind.EXPORTER


@dataclass
class RecordedComponent:
    """A component that writes down its life; ``work`` is what it does to frames."""

    name: str
    events: list
    work: object = None
    fails_to_start: bool = False
    consumer: object = None
    sink: Sink = field(default_factory=Sink)

    def start(self, consumer=None):
        self.events.append(f"start {self.name}")
        if self.fails_to_start:
            raise RuntimeError("no luck")
        self.consumer = consumer

    def shutdown(self):
        self.events.append(f"shutdown {self.name}")

    def process(self, frames):
        return self.work(frames) if self.work else frames

    def export(self, frames):
        self.sink.export(frames)


class RecordedSender(FakeSender, RecordedComponent):
    """A sender that writes down its life, too."""

    def __init__(self, name, events, problems=()):
        FakeSender.__init__(self, problems)
        RecordedComponent.__init__(self, name, events)


@dataclass
class RecordedGraph:
    """Configurations of parts, and what became of them."""

    events: list = field(default_factory=list)
    parts: dict = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def configured(self, kind, name, **what):
        def create(settings, context):
            self.parts[name] = what.pop("part", None) or RecordedComponent(name, self.events, **what)
            return self.parts[name]

        settings = PushSettings() if isinstance(what.get("part"), FakeSender) else Settings()
        return ConfiguredComponent(Factory(kind, name, create, type(settings)), settings)

    def build(self, pipelines, **parts):
        """``pipelines``: name → (receivers, processors, exporters) as words; ``parts``: settings of a Part by name."""
        sections = {kind: {} for kind in ComponentKind}
        settings = {}
        for name, words in pipelines.items():
            ids = [
                tuple(ComponentId(kind, word) for word in part.split())
                for kind, part in zip((RECEIVER, PROCESSOR, EXPORTER), words, strict=True)
            ]
            settings[PipelineId(name)] = PipelineSettings(*ids)
            for id_ in [id_ for part in ids for id_ in part]:
                sections[id_.kind][id_] = self.configured(id_.kind, id_.type, **parts.get(id_.type, {}))
        config = Config(*(sections[kind] for kind in ComponentKind), service=ServiceSettings(settings))
        return build(config, self.context, self.ledger)

    def context(self, id_):
        return fake_context(
            id_.kind, str(id_), telemetry=ComponentTelemetry(id_, self.ledger, logging.getLogger("test"))
        )

    def count(self, name):
        """The counter's series by the value of their first attribute."""
        return {attributes[0][1]: value for n, attributes, value in self.ledger.snapshot() if n == name}
