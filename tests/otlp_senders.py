# SPDX-License-Identifier: Apache-2.0
"""Exporters of OTLP, started, with a clock that a test moves."""

from collections import Counter
from contextlib import contextmanager

from ebpf_sidecar.pipeline import ComponentKind, LeftOut
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.testing import FakeClock, fake_context


@contextmanager
def sender(type_, telemetry=None, **settings):
    """An exporter of that type with these settings, started."""
    factory = Plugins().factory(ComponentKind.EXPORTER, type_)
    context = fake_context(factory.kind, type_, clock=FakeClock(), telemetry=telemetry)
    made = factory.create(factory.settings.model_validate(settings), context)
    made.start()
    try:
        yield made
    finally:
        made.shutdown()


def send(made, *frames):
    """Encode the frames and send every payload; returns how many points were left out, by reason."""
    left_out = Counter()
    for part in made.encode(frames):
        if isinstance(part, LeftOut):
            left_out[part.reason] += part.points
        else:
            made.send(part)
    return {reason: points for reason, points in left_out.items() if points}
