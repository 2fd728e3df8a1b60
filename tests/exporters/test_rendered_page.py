# SPDX-License-Identifier: Apache-2.0
"""A page is rendered once for all scrapes within a second, however long rendering takes."""

import pytest
from served_exporter import ServedExporter, people

from ebpf_sidecar.exporters.exposition.page import Format
from ebpf_sidecar.exporters.exposition.rendered_page import FRESH_SECONDS, RenderedPage
from ebpf_sidecar.pipeline.testing import frame


@pytest.mark.parametrize("packed", [False, True])
def test_a_page_is_fresh_from_its_completion_on(packed):
    """Otherwise each scraper of a slowly rendered page would hold a copy of its own."""
    now, rendered = [0.0], RenderedPage(Format(openmetrics=False))

    def render(_form):
        now[0] += 5 * FRESH_SECONDS
        yield b"body\n"

    page = rendered.page(render, b"tail\n", lambda: now[0], packed=packed)
    soon, late = now[0] + FRESH_SECONDS / 2, now[0] + FRESH_SECONDS

    assert page is rendered.fresh(soon, packed=packed)
    assert rendered.fresh(late, packed=packed) is None


def test_scrapers_that_come_while_a_page_is_made_get_that_page():
    """The same bytes, not a copy of their own."""
    made = []

    def internal_telemetry(_openmetrics):
        if not made:  # another scraper overtakes the first one here
            made.append(None)
            made[0] = served.context.routes.get("/metrics").body
        return b""

    served = ServedExporter(internal_telemetry=internal_telemetry)
    served.export(frame("a.b", [1], people("me")))

    assert served.context.routes.get("/metrics").body is made[0]
