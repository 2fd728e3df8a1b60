# SPDX-License-Identifier: Apache-2.0
"""The end of connected components: at the same time, within one bound, and with every point accounted for."""

import threading

from recorded_graph import RecordedGraph, RecordedSender

from ebpf_sidecar.pipeline.payload import SendError
from ebpf_sidecar.pipeline.testing import frame


class Waiting(RecordedSender):
    """A component that hangs where ``hangs`` says, until its event is set; ``does`` is called in there first."""

    def __init__(self, name, events, hangs, event=None, does=lambda: None):
        super().__init__(name, events)
        self.hangs, self.event, self.does = hangs, event or threading.Event(), does

    def send(self, payload):
        self.meet("send")
        super().send(payload)

    def shutdown(self):
        self.meet("shutdown")
        super().shutdown()

    def meet(self, place):
        if place == self.hangs:
            self.does()
            self.event.wait(10)


def test_queues_empty_themselves_at_the_same_time():
    """The first exporter waits for what the second delivers last: one after the other, both would lose their batch."""
    recorded, delivered, tried = RecordedGraph(), threading.Event(), threading.Event()
    one = Waiting("one", recorded.events, "send", delivered)
    two = RecordedSender("two", recorded.events)
    attempts = iter([SendError("not yet", retry=True)])

    def send(payload):
        for problem in attempts:
            tried.set()
            raise problem
        delivered.set()

    two.send = send
    graph = recorded.build({"": ("r", "", "one two")}, one={"part": one}, two={"part": two})
    graph.start()
    recorded.parts["r"].consumer([frame("m", [5])])
    assert tried.wait(10)  # what is first tried after the stop is tried once
    lost = graph.shutdown(20.0)

    assert [] == lost
    assert {"one": 1, "two": 1} == recorded.count("ebpf_sidecar.exporter.sent_metric_points")


def test_what_hangs_is_named_and_everything_else_is_shut_down():
    """A receiver that never stops, an exporter that never delivers: the others are closed within the same bound."""
    recorded = RecordedGraph()
    receiver, exporter = Waiting("r", recorded.events, "shutdown"), Waiting("e", recorded.events, "send")
    graph = recorded.build({"": ("r s", "p", "e f")}, r={"part": receiver}, e={"part": exporter})
    graph.start()
    for name in "rs":
        recorded.parts[name].consumer([frame("m", [5, 6])])
    lost = graph.shutdown(0.5)
    recorded.parts["r"].consumer([frame("m", [7])])
    receiver.event.set()
    exporter.event.set()

    assert ["receiver r did not stop in time", "exporter e lost 4 data points"] == lost
    assert {"shutdown s", "shutdown p", "shutdown e", "shutdown f"} <= set(recorded.events)
    assert {"r": 1, "s": 0} == recorded.count("ebpf_sidecar.receiver.refused_metric_points")
    assert {"e": 0, "f": 4} == recorded.count("ebpf_sidecar.exporter.sent_metric_points")


def test_what_waits_for_an_exporter_or_is_in_flight_is_shown():
    """Received points are sent, failed or queued while the exporter is at work."""
    recorded, entered = RecordedGraph(), threading.Event()
    exporter = Waiting("e", recorded.events, "send", does=entered.set)
    graph = recorded.build({"": ("r", "", "e")}, e={"part": exporter})
    graph.start()
    for _ in range(2):
        recorded.parts["r"].consumer([frame("m", [5, 6])])
        entered.wait(5)
    queued = recorded.count("ebpf_sidecar.exporter.queued_metric_points")
    exporter.event.set()
    graph.shutdown(5.0)

    assert {"e": 4} == queued


def test_what_is_read_of_a_component_ends_with_it():
    """Gauges would keep a removed component, and all its maps, alive; its counts stay."""
    recorded = RecordedGraph()
    graph = recorded.build({"": ("r", "p", "e")})
    for made in graph.made.values():
        made.context.telemetry.observe("held", "By", "held", lambda: 1.0)
    graph.start()
    recorded.parts["r"].consumer([frame("m", [5])])
    before = recorded.count("held")
    graph.shutdown(5.0)

    assert {"receiver r": 1.0, "processor p": 1.0, "exporter e": 1.0} == before
    assert {} == recorded.count("held") | recorded.count("ebpf_sidecar.exporter.queue_size")
    assert {"e": 1} == recorded.count("ebpf_sidecar.exporter.sent_metric_points")
