# SPDX-License-Identifier: Apache-2.0
"""A configuration as connected components: order of life, fan-out, counting, and one component's failure alone."""

import logging
import sys
import threading
from dataclasses import dataclass, field

import pytest

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind, Factory, MapCleanup
from ebpf_sidecar.pipeline.config import Config, ConfiguredComponent, PipelineId, PipelineSettings, ServiceSettings
from ebpf_sidecar.pipeline.errors import ConfigError, ExportError, SidecarError
from ebpf_sidecar.pipeline.graph import build
from ebpf_sidecar.pipeline.ledger import Ledger
from ebpf_sidecar.pipeline.sending import QueueSettings
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.telemetry import ComponentTelemetry
from ebpf_sidecar.pipeline.testing import Sink, fake_context, frame

RECEIVER, PROCESSOR, EXPORTER = ComponentKind.RECEIVER, ComponentKind.PROCESSOR, ComponentKind.EXPORTER


@dataclass
class Part:
    """A component that writes down its life; ``work`` is what it does to frames."""

    name: str
    diary: list
    work: object = None
    fails_to_start: bool = False
    consumer: object = None
    sink: Sink = field(default_factory=Sink)

    def start(self, consumer=None):
        self.diary.append(f"start {self.name}")
        if self.fails_to_start:
            raise RuntimeError("no luck")
        self.consumer = consumer

    def shutdown(self):
        self.diary.append(f"shutdown {self.name}")

    def process(self, frames):
        return self.work(frames) if self.work else frames

    def export(self, frames):
        self.sink.export(frames)


@dataclass
class House:
    """Configurations of parts, and what became of them."""

    diary: list = field(default_factory=list)
    parts: dict = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def configured(self, kind, name, **what):
        def create(settings, context):
            self.parts[name] = what.pop("part", None) or Part(name, self.diary, **what)
            return self.parts[name]

        return ConfiguredComponent(Factory(kind, name, create), Settings(), QueueSettings())

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


def test_exporters_start_first_and_receivers_stop_first():
    """Who receives is ready before anybody sends; who sends stops before anybody is gone."""
    house = House()
    graph = house.build({"": ("r", "p q", "e")})
    graph.start()
    graph.shutdown(1.0)

    assert ["start e", "start q", "start p", "start r"] == house.diary[:4]
    assert ["shutdown r", "shutdown p", "shutdown q", "shutdown e"] == house.diary[4:]


def test_frames_go_through_the_processors_in_the_order_written_to_every_exporter():
    """One batch, each processor once, the very same frames to each exporter."""
    house = House()
    double = {"work": lambda frames: [f.with_values(f.values * 2) for f in frames]}
    add = {"work": lambda frames: [f.with_values(f.values + 1) for f in frames]}
    graph = house.build({"": ("r", "double add", "one two")}, double=double, add=add)
    graph.start()
    house.parts["r"].consumer([frame("m", [5])])
    graph.shutdown(1.0)
    one, two = house.parts["one"].sink.frames, house.parts["two"].sink.frames

    assert [11] == one[0].values.tolist()
    assert one[0] is two[0]


def test_a_receiver_feeds_each_of_its_pipelines_and_an_exporter_serves_several():
    """Components are shared between pipelines by their id; processors are not."""
    house = House()
    graph = house.build({"": ("r", "", "e"), "two": ("r", "", "e")})
    graph.start()
    house.parts["r"].consumer([frame("m", [5])])
    graph.shutdown(1.0)

    assert 2 == len(house.parts["e"].sink.batches)
    assert 1 == house.diary.count("start e")


@pytest.mark.parametrize("work", [lambda frames: 1 / 0, lambda frames: sys.exit(9)], ids=["raises", "exits"])
def test_a_processor_that_fails_is_counted_and_the_frames_go_on_as_they_came(work):
    """Losing enrichment is better than losing data."""
    house = House()
    graph = house.build({"": ("r", "bad", "e")}, bad={"work": work})
    graph.start()
    house.parts["r"].consumer([frame("m", [5])])
    graph.shutdown(1.0)

    assert [5] == house.parts["e"].sink.frames[0].values.tolist()
    assert {"processor bad": 1} == house.count("ebpf.collector.errors")


def test_every_boundary_counts_points():
    """Received, in, out and sent add up, and what comes after the end is refused."""
    house = House()
    graph = house.build({"": ("r", "half", "e")}, half={"work": lambda frames: frames[:1]})
    graph.start()
    house.parts["r"].consumer([frame("m", [1, 2]), frame("n", [1, 2, 3])])
    graph.shutdown(1.0)
    house.parts["r"].consumer([frame("m", [1])])
    prefix = "ebpf_sidecar."

    assert {"r": 5} == house.count(prefix + "receiver.accepted_metric_points")
    assert {"half": 5} == house.count(prefix + "processor.incoming_metric_points")
    assert {"half": 2} == house.count(prefix + "processor.outgoing_metric_points")
    assert {"e": 2} == house.count(prefix + "exporter.sent_metric_points")
    assert {"r": 1} == house.count(prefix + "receiver.refused_metric_points")


def test_when_one_component_cannot_start_the_others_are_shut_down_again():
    """Nothing is left running, and the error names the component."""
    house = House()
    graph = house.build({"": ("r", "p", "e")}, r={"fails_to_start": True})
    with pytest.raises(SidecarError, match="no luck") as caught:
        graph.start()

    assert "r" == caught.value.component
    assert {"shutdown e", "shutdown p"} <= set(house.diary)


class Waiting(Part):
    """A component that hangs where ``hangs`` says, until its event is set; ``does`` is called in there first."""

    def __init__(self, name, diary, hangs, event=None, does=lambda: None):
        super().__init__(name, diary)
        self.hangs, self.event, self.does = hangs, event or threading.Event(), does

    def export(self, frames):
        self.meet("export")
        super().export(frames)

    def shutdown(self):
        self.meet("shutdown")
        super().shutdown()

    def meet(self, place):
        if place == self.hangs:
            self.does()
            self.event.wait(10)


def test_queues_empty_themselves_at_the_same_time():
    """The first exporter waits for what the second delivers last: one after the other, both would lose their batch."""
    house, delivered = House(), threading.Event()
    one = Waiting("one", house.diary, "export", delivered)
    two = Part("two", house.diary)
    attempts = iter([ExportError("not yet", retry=True)])

    def export(frames):
        for problem in attempts:
            raise problem
        delivered.set()

    two.export = export
    graph = house.build({"": ("r", "", "one two")}, one={"part": one}, two={"part": two})
    graph.start()
    house.parts["r"].consumer([frame("m", [5])])
    lost = graph.shutdown(20.0)

    assert [] == lost
    assert {"one": 1, "two": 1} == house.count("ebpf_sidecar.exporter.sent_metric_points")


def test_what_hangs_is_named_and_everything_else_is_shut_down():
    """A receiver that never stops, an exporter that never delivers: the others are closed within the same bound."""
    house = House()
    receiver, exporter = Waiting("r", house.diary, "shutdown"), Waiting("e", house.diary, "export")
    graph = house.build({"": ("r s", "p", "e f")}, r={"part": receiver}, e={"part": exporter})
    graph.start()
    for name in "rs":
        house.parts[name].consumer([frame("m", [5, 6])])
    lost = graph.shutdown(0.5)
    house.parts["r"].consumer([frame("m", [7])])
    receiver.event.set()
    exporter.event.set()

    assert ["receiver r did not stop in time", "exporter e lost 4 data points"] == lost
    assert {"shutdown s", "shutdown p", "shutdown e", "shutdown f"} <= set(house.diary)
    assert {"r": 1} == house.count("ebpf_sidecar.receiver.refused_metric_points")
    assert {"e": 0, "f": 4} == house.count("ebpf_sidecar.exporter.sent_metric_points")


def test_what_waits_for_an_exporter_or_is_in_flight_is_shown():
    """Received points are sent, failed or queued while the exporter is at work."""
    house, entered = House(), threading.Event()
    exporter = Waiting("e", house.diary, "export", does=entered.set)
    graph = house.build({"": ("r", "", "e")}, e={"part": exporter})
    graph.start()
    for _ in range(2):
        house.parts["r"].consumer([frame("m", [5, 6])])
        entered.wait(5)
    queued = house.count("ebpf_sidecar.exporter.queued_metric_points")
    exporter.event.set()
    graph.shutdown(5.0)

    assert {"e": 4} == queued
    assert {"e": 0} == house.count("ebpf_sidecar.exporter.queued_metric_points")


class Cleaning(Part):
    """A processor that asks for cleared maps."""

    map_cleanup = MapCleanup("clear_after_read", 5.0)


class Emptying(Cleaning):
    """Another one that asks for something else."""

    map_cleanup = MapCleanup("no_cleanup")


class Obedient(Part):
    """A receiver that can clean maps."""

    def clean_maps(self, cleanup):
        self.diary.append(cleanup)


def test_a_request_for_clean_maps_reaches_the_receiver_before_it_starts():
    """Requests travel upstream while the graph is built."""
    house = House()
    parts = {"r": {"part": Obedient("r", house.diary)}, "c": {"part": Cleaning("c", house.diary)}}
    house.build({"": ("r", "c", "e")}, **parts)

    assert [MapCleanup("clear_after_read", 5.0)] == house.diary


def test_a_receiver_that_has_no_maps_is_not_disturbed():
    """A replayed recording has nothing to clean."""
    house = House()
    house.build({"": ("r", "c", "e")}, c={"part": Cleaning("c", house.diary)})

    assert [] == house.diary


def test_two_pipelines_that_ask_for_different_cleanups_are_a_mistake():
    """One receiver cannot follow both, and both pipelines are named."""
    house = House()
    parts = {"c": {"part": Cleaning("c", [])}, "d": {"part": Emptying("d", [])}}
    with pytest.raises(ConfigError, match=r"receivers::r: .* service::pipelines::metrics and .*metrics/two"):
        house.build({"": ("r", "c", "e"), "two": ("r", "d", "e")}, **parts)
