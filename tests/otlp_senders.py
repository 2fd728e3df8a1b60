# SPDX-License-Identifier: Apache-2.0
"""Exporters of OTLP, started, with a clock that a test moves."""

from contextlib import contextmanager

from ebpf_sidecar.pipeline import ComponentKind
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.testing import FakeClock, fake_context


@contextmanager
def sender(type_, **settings):
    """An exporter of that type with these settings, started."""
    factory = Plugins().factory(ComponentKind.EXPORTER, type_)
    made = factory.create(
        factory.settings.model_validate(settings), fake_context(factory.kind, type_, clock=FakeClock())
    )
    made.start()
    try:
        yield made
    finally:
        made.shutdown()


def send(made, *frames):
    """Encode the frames and send every payload."""
    for payload in made.encode(frames):
        made.send(payload)
