# SPDX-License-Identifier: Apache-2.0
"""Our own metrics at the end of the page: fresh, and never in the way of the kernel's."""

import gzip

import pytest
from served_exporter import OPENMETRICS, ServedExporter

from ebpf_sidecar.exporters.exposition.rendered_page import FRESH_SECONDS
from ebpf_sidecar.pipeline.testing import frame

OWN = {
    False: b"# HELP own_total Own\n# TYPE own_total counter\nown_total 5.0\n# TYPE up gauge\nup 1.0\n",
    True: b"# HELP own Own\n# TYPE own counter\nown_total 5.0\n# TYPE up gauge\nup 1.0\n",
}


def test_our_own_metrics_are_at_the_end_of_the_page():
    """In either format, before the EOF."""
    served = ServedExporter(internal_telemetry=OWN.get)
    served.export(frame("work", [1]))

    assert "# TYPE work_total counter\nwork_total 1\n" + OWN[False].decode() == served.page()
    assert "# TYPE work counter\nwork_total 1\n" + OWN[True].decode() + "# EOF\n" == served.page(OPENMETRICS)


@pytest.mark.parametrize("headers", [{}, OPENMETRICS])
def test_families_of_our_own_metrics_with_a_taken_name_are_left_out(headers):
    """A family twice on a page would make it unreadable."""
    served = ServedExporter(internal_telemetry=OWN.get)
    served.export(frame("own", [1]))

    assert ["own_total 1", "up 1.0"] == [s for s in served.page(headers).splitlines() if not s.startswith("#")]
    assert 1 == served.page(headers).count("# TYPE own")


def test_the_page_is_served_even_when_our_own_metrics_fail():
    """The kernel's numbers matter more."""

    def fail(openmetrics):
        raise RuntimeError("broken")

    served = ServedExporter(internal_telemetry=fail)
    served.export(frame("work", [1]))

    assert ["work_total 1"] == served.samples()
    assert [("self metrics", "broken")] == served.context.telemetry.errors


def test_our_own_metrics_are_fresh_on_a_page_from_the_cache():
    """Plain and compressed; the compressed page is one gzip member, which every client can read."""
    calls = iter(range(1, 100))
    served = ServedExporter(internal_telemetry=lambda openmetrics: b"# TYPE calls gauge\ncalls %d\n" % next(calls))
    served.export(frame("work", list(range(100))))
    plain, packed = served.page().splitlines(), []
    for _ in range(2):
        served.clock.advance(FRESH_SECONDS)
        packed.append(served.context.routes.get("/metrics", {"accept-encoding": "gzip"}).body)

    assert "calls 1" == plain[-1]
    assert [b"calls 2", b"calls 3"] == [gzip.decompress(page).splitlines()[-1] for page in packed]
    assert plain[:-1] == gzip.decompress(packed[1]).decode().splitlines()[:-1]


def test_our_own_target_info_is_not_repeated():
    """The SDK's reader may bring one."""
    own = b"# TYPE target_info gauge\ntarget_info 1\n"
    served = ServedExporter(internal_telemetry=lambda openmetrics: own, resource={"a": "b"})

    assert ['target_info{a="b"} 1'] == served.samples()
