# SPDX-License-Identifier: Apache-2.0
"""A configuration as connected components: order of life, fan-out, counting, and one component's failure alone."""

import sys

import pytest
from recorded_graph import EXPORTER, PROCESSOR, RECEIVER, RecordedComponent, RecordedGraph

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind, Factory, MapCleanup
from ebpf_sidecar.pipeline.config.load import Config, ConfiguredComponent, PipelineId, PipelineSettings, ServiceSettings
from ebpf_sidecar.pipeline.errors import ConfigError, SidecarError
from ebpf_sidecar.pipeline.running.graph import build
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.testing import FakeSender, frame


def test_exporters_start_first_and_receivers_stop_first():
    """Consumers are ready before producers start; producers stop before consumers are gone."""
    recorded = RecordedGraph()
    graph = recorded.build({"": ("r", "p q", "e")})
    graph.start()
    graph.shutdown(1.0)

    assert ["start e", "start q", "start p", "start r"] == recorded.events[:4]
    assert ["shutdown r", "shutdown p", "shutdown q", "shutdown e"] == recorded.events[4:]


def test_frames_go_through_the_processors_in_the_order_written_to_every_exporter():
    """One batch, each processor once, the very same frames to each exporter."""
    recorded = RecordedGraph()
    double = {"work": lambda frames: [f.with_values(f.values * 2) for f in frames]}
    add = {"work": lambda frames: [f.with_values(f.values + 1) for f in frames]}
    graph = recorded.build({"": ("r", "double add", "one two")}, double=double, add=add)
    graph.start()
    recorded.parts["r"].consumer([frame("m", [5])])
    graph.shutdown(1.0)
    one, two = recorded.parts["one"].sink.frames, recorded.parts["two"].sink.frames

    assert [11] == one[0].values.tolist()
    assert one[0] is two[0]


def test_the_queues_in_memory_are_those_of_all_senders():
    """Of every pipeline; an exporter without a queue has none to give up."""
    graph = RecordedGraph().build({"": ("r", "p", "e"), "two": ("r", "", "one")}, one={"part": FakeSender()})
    graph.shutdown(1.0)
    one = ComponentId(EXPORTER, "one")

    assert {one: graph.exporters[one]} == graph.queues_in_memory()


def test_a_receiver_feeds_each_of_its_pipelines_and_an_exporter_serves_several():
    """Components are shared between pipelines by their id; processors are not."""
    recorded = RecordedGraph()
    graph = recorded.build({"": ("r", "", "e"), "two": ("r", "", "e")})
    graph.start()
    recorded.parts["r"].consumer([frame("m", [5])])
    graph.shutdown(1.0)

    assert 2 == len(recorded.parts["e"].sink.batches)
    assert 1 == recorded.events.count("start e")


@pytest.mark.parametrize("work", [lambda frames: 1 / 0, lambda frames: sys.exit(9)], ids=["raises", "exits"])
def test_a_processor_that_fails_is_counted_and_the_frames_go_on_as_they_came(work):
    """Losing enrichment is better than losing data."""
    recorded = RecordedGraph()
    graph = recorded.build({"": ("r", "bad", "e")}, bad={"work": work})
    graph.start()
    recorded.parts["r"].consumer([frame("m", [5])])
    graph.shutdown(1.0)

    assert [5] == recorded.parts["e"].sink.frames[0].values.tolist()
    assert {"processor bad": 1} == recorded.count("ebpf.collector.errors")


def test_a_frame_that_a_processor_builds_is_of_the_same_reading():
    """Its receiver and the clock for intervals are those of the frames that it was made from."""
    recorded = RecordedGraph()
    build = {"work": lambda frames: [*frames, frame("built", [1])]}
    graph = recorded.build({"": ("r", "p", "e")}, p=build)
    graph.start()
    recorded.parts["r"].consumer([frame("m", [5], monotonic_nano=7)])
    graph.shutdown(1.0)
    built = recorded.parts["e"].sink.latest("built")

    assert ("receiver", "r", 7) == (built.source.kind, built.source.type, built.monotonic_nano)


def test_every_boundary_counts_points():
    """Received, in, out and sent add up, and batches after the shutdown are refused."""
    recorded = RecordedGraph()
    graph = recorded.build({"": ("r", "half", "e")}, half={"work": lambda frames: frames[:1]})
    graph.start()
    recorded.parts["r"].consumer([frame("m", [1, 2]), frame("n", [1, 2, 3])])
    graph.shutdown(1.0)
    recorded.parts["r"].consumer([frame("m", [1])])
    prefix = "ebpf_sidecar."

    assert {"r": 5} == recorded.count(prefix + "receiver.accepted_metric_points")
    assert {"half": 5} == recorded.count(prefix + "processor.incoming_metric_points")
    assert {"half": 2} == recorded.count(prefix + "processor.outgoing_metric_points")
    assert {"e": 2} == recorded.count(prefix + "exporter.sent_metric_points")
    assert {"r": 1} == recorded.count(prefix + "receiver.refused_metric_points")


def test_when_one_component_cannot_start_the_others_are_shut_down_again():
    """Nothing is left running, and the error names the component."""
    recorded = RecordedGraph()
    graph = recorded.build({"": ("r", "p", "e")}, r={"fails_to_start": True})
    with pytest.raises(SidecarError, match="no luck") as caught:
        graph.start()

    assert "r" == caught.value.component
    assert {"shutdown e", "shutdown p"} <= set(recorded.events)


class Cleaning(RecordedComponent):
    """A processor that requests cleared maps."""

    map_cleanup = MapCleanup("clear_after_read", 5.0)


class Emptying(Cleaning):
    """Another one with a different request."""

    map_cleanup = MapCleanup("no_cleanup")


class Obedient(RecordedComponent):
    """A receiver that can clean maps."""

    def clean_maps(self, cleanup):
        self.events.append(cleanup)


def test_a_request_for_clean_maps_reaches_the_receiver_before_it_starts():
    """Requests travel upstream while the graph is built."""
    recorded = RecordedGraph()
    parts = {"r": {"part": Obedient("r", recorded.events)}, "c": {"part": Cleaning("c", recorded.events)}}
    recorded.build({"": ("r", "c", "e")}, **parts)

    assert [MapCleanup("clear_after_read", 5.0)] == recorded.events


def test_a_receiver_that_has_no_maps_is_not_disturbed():
    """A replayed recording has nothing to clean."""
    recorded = RecordedGraph()
    recorded.build({"": ("r", "c", "e")}, c={"part": Cleaning("c", recorded.events)})

    assert [] == recorded.events


def test_two_pipelines_that_request_different_cleanups_are_a_mistake():
    """One receiver cannot follow both, and both pipelines are named."""
    recorded = RecordedGraph()
    parts = {"c": {"part": Cleaning("c", [])}, "d": {"part": Emptying("d", [])}}
    with pytest.raises(ConfigError, match=r"receivers::r: .* service::pipelines::metrics and .*metrics/two"):
        recorded.build({"": ("r", "c", "e"), "two": ("r", "d", "e")}, **parts)


def test_components_find_the_extensions_that_the_service_uses():
    """They are made first; one that is not in use is named, with the one that was meant."""
    recorded, seen = RecordedGraph(), {}

    def create(settings, context):
        seen[str(context.id)] = context
        return RecordedComponent(str(context.id), recorded.events)

    names = ("r", "p", "e", "storage")
    parts = {kind: ComponentId(kind, name) for kind, name in zip(ComponentKind, names, strict=True)}
    made = {id_: ConfiguredComponent(Factory(kind, id_.type, create), Settings()) for kind, id_ in parts.items()}
    pipelines = {PipelineId(""): PipelineSettings(*([parts[kind]] for kind in (RECEIVER, PROCESSOR, EXPORTER)))}
    service = ServiceSettings(pipelines, extensions=[parts[ComponentKind.EXTENSION]])
    config = Config(*({parts[kind]: made[parts[kind]]} for kind in ComponentKind), service=service)
    graph = build(config, recorded.context, recorded.ledger)

    assert [graph.extensions[parts[ComponentKind.EXTENSION]]] * 3 == [seen[name].extension("storage") for name in "rpe"]
    with pytest.raises(SidecarError, match='extension "storag" is not in use; did you mean "storage"'):
        seen["e"].extension("storag")
