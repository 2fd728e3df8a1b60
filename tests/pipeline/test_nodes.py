# SPDX-License-Identifier: Apache-2.0
"""What the places where data passes put on it."""

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config import PipelineId
from ebpf_sidecar.pipeline.ledger import Ledger
from ebpf_sidecar.pipeline.nodes import Pipeline, Source, Stage
from ebpf_sidecar.pipeline.testing import RecordedTelemetry, Sink, frame


class Adding:
    """A processor that builds a frame from nothing."""

    def process(self, frames):
        return [*frames, frame("made", [1])]


class Kept(Sink):
    """A sink where a queue is wanted."""

    offer = Sink.__call__


def test_frames_say_which_receiver_made_them_whatever_a_component_says():
    """Row ids have a meaning within one receiver only; what a processor makes is about the same rows."""
    r, q = (ComponentId(ComponentKind.RECEIVER, "r", name) for name in ("", "q"))
    ledger, kept = Ledger(), Kept()
    stage = Stage(ComponentId(ComponentKind.PROCESSOR, "p"), Adding(), RecordedTelemetry(), (), ledger)
    pipeline = Pipeline(PipelineId(""), [stage], [kept])
    Source(r, None, [pipeline], ledger).consume([frame("m", [5], source=q)])
    Source(q, None, [pipeline], ledger).consume([frame("m", [5])])
    Source(q, None, [pipeline], ledger).consume([])

    assert [("m", r), ("made", r), ("m", q), ("made", q), ("made", None)] == [(f.name, f.source) for f in kept.frames]
