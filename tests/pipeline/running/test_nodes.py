# SPDX-License-Identifier: Apache-2.0
"""What the nodes of a pipeline add to the data that passes."""

from types import SimpleNamespace

import pytest

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind, OnFailure, Refusal
from ebpf_sidecar.pipeline.config.load import PipelineId
from ebpf_sidecar.pipeline.errors import RefusedError
from ebpf_sidecar.pipeline.running.nodes import Pipeline, ProcessorNode, ReceiverNode
from ebpf_sidecar.pipeline.telemetry.ledger import RECEIVED, REFUSED, Ledger
from ebpf_sidecar.pipeline.testing import RecordedTelemetry, Sink, frame


class Adding:
    """A processor that builds a frame from nothing."""

    def process(self, frames):
        return [*frames, frame("made", [1])]


class Kept(Sink):
    """A sink where a queue is wanted."""

    consume = Sink.__call__


def test_frames_carry_their_receiver_whatever_a_component_sets():
    """Row ids have a meaning within one receiver only; what a processor makes is about the same rows."""
    r, q = (ComponentId(ComponentKind.RECEIVER, "r", name) for name in ("", "q"))
    ledger, kept = Ledger(), Kept()
    stage = ProcessorNode(ComponentId(ComponentKind.PROCESSOR, "p"), Adding(), RecordedTelemetry(), (), ledger)
    pipeline = Pipeline(PipelineId(""), [stage], [kept])
    ReceiverNode(r, None, [pipeline], ledger).consume([frame("m", [5], source=q)])
    ReceiverNode(q, None, [pipeline], ledger).consume([frame("m", [5])])
    ReceiverNode(q, None, [pipeline], ledger).consume([])

    assert [("m", r), ("made", r), ("m", q), ("made", q), ("made", None)] == [(f.name, f.source) for f in kept.frames]


class Failing:
    """A processor that fails as configured."""

    def __init__(self, problem, **more):
        self.problem = problem
        self.__dict__ |= more

    def process(self, frames):
        raise self.problem


def through(*processors):
    """A pipeline of these, what arrives after it, and its ledger; the receiver's name is r."""
    ledger, kept = Ledger(), Kept()
    id_ = ComponentId(ComponentKind.PROCESSOR, "p")
    processors = [ProcessorNode(id_, processor, RecordedTelemetry(), (), ledger) for processor in processors]
    return Pipeline(PipelineId(""), processors, [kept]), kept, ledger


@pytest.mark.parametrize(("more", "arrived"), [({}, 1), ({"on_failure": OnFailure.DROP}, 0)])
def test_what_a_processor_fails_on_goes_on_unless_it_must_not(more, arrived):
    """Failing enrichment loses no data; a failing filter passes nothing, and reports how much."""
    pipeline, kept, _ = through(Failing(RuntimeError("bug"), **more))
    pipeline.consume([frame("m", [1, 2])])

    assert arrived == len(kept.frames)
    assert ({} if arrived else {"processing_failed": 2}) == pipeline.processors[0].telemetry.drops
    assert [("processing", "bug")] == pipeline.processors[0].telemetry.errors


def test_a_receivers_counters_are_there_before_its_first_batch():
    """So that the first refusal is an increase."""
    pipeline, _, ledger = through()
    started = []
    receiver = SimpleNamespace(start=started.append)
    node = ReceiverNode(ComponentId(ComponentKind.RECEIVER, "r"), receiver, [pipeline], ledger)
    node.start()

    assert [node.consume] == started
    assert [0, 0] == [*ledger.counts(RECEIVED).values(), *ledger.counts(REFUSED).values()]


def test_a_receiver_learns_that_its_batch_was_refused_and_when_to_come_back():
    """The longest wait counts; a pipeline that takes the batch has it; the refusal is in the ledger."""
    full = [through(Failing(RefusedError("memory is short", retry_after=seconds))) for seconds in (1.0, 5.0)]
    willing, kept, ledger = through()
    r = ComponentId(ComponentKind.RECEIVER, "r")
    source = ReceiverNode(r, None, [full[0][0], willing, full[1][0]], ledger)
    answer = source.consume([frame("m", [1, 2, 3])])

    assert Refusal("memory is short", 5.0) == answer
    assert 1 == len(kept.frames)
    assert {} == full[0][0].processors[0].telemetry.drops
    assert (3, {}) == (sum(ledger.counts(REFUSED).values()), ledger.counts(RECEIVED))
