# SPDX-License-Identifier: Apache-2.0
"""Prometheus itself reads our page."""

import json
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest
from prometheus_servers import current, first_answer, needs, needs_current, prometheus, query

from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet
from ebpf_sidecar.pipeline.clock import SystemClock
from ebpf_sidecar.pipeline.http.servers import HttpServers
from ebpf_sidecar.pipeline.testing import fake_context, frame

pytestmark = pytest.mark.peer
CURRENT = current()

ROWS = RowSet.of([{"k8s.pod.name": "web"}, {"k8s.pod.name": 'a "b"\\\n'}])


def frames(seconds):
    """What a probe would have counted after so many seconds: 100 misses a second, all of one pod."""
    now = {"time_unix_nano": time.time_ns()}
    return [
        frame(
            "ebpf.cache.misses", [round(100 * seconds), 0], ROWS, unit="{page}", description="Pages brought in", **now
        ),
        frame("ebpf.cache.hit_rate", [90, 95.5], ROWS, unit="%", kind=Kind.GAUGE, description="Found in memory", **now),
        frame(
            "ebpf.block.io.duration",
            [[1, 2, 3], [0, 0, 0]],
            ROWS,
            bounds=[0.001, 1],
            unit="s",
            description="Issue to completion",
            **now,
        ),
    ]


@needs("promtool")
def test_promtool_finds_nothing_to_complain_about():
    """Names, help texts, types and escapes are as Prometheus recommends."""
    context = fake_context(ComponentKind.EXPORTER, "prometheus", resource={"service.name": "ebpf-sidecar"})
    exporter = FACTORY.create(FACTORY.settings(), context)
    exporter.start()
    exporter.export(frames(1))
    page = context.routes.get("/metrics").body
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)

    assert (0, b"", b"") == (checked.returncode, checked.stdout, checked.stderr)


@contextmanager
def counting():
    """An exporter whose numbers grow ten times a second: where it can be scraped."""
    servers, stopped = HttpServers(), threading.Event()
    context = fake_context(ComponentKind.EXPORTER, "prometheus", routes=servers, clock=SystemClock())
    exporter = FACTORY.create(FACTORY.settings(endpoint="127.0.0.1:0"), context)
    servers.start()
    exporter.start()
    begin = time.monotonic()

    def count():
        while not stopped.wait(0.1):
            exporter.export(frames(time.monotonic() - begin))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield "{}:{}".format(*servers.bound("127.0.0.1:0"))
    finally:
        stopped.set()
        thread.join()
        servers.shutdown()


@needs("prometheus")
def test_a_real_prometheus_scrapes_us_and_answers_queries(tmp_path):
    """Target up, rates right, nasty label values intact, buckets usable for quantiles, metadata known."""
    with counting() as target, prometheus(tmp_path, target) as address:
        rate = "rate(ebpf_cache_misses_total[4s])"
        rates = first_answer(address, rate, lambda r: any(80 < float(each["value"][1]) < 120 for each in r))
        minute = query(address, "rate(ebpf_cache_misses_total[1m])")
        up = query(address, "up")
        quantile = query(address, 'histogram_quantile(0.5, ebpf_block_io_duration_seconds_bucket{k8s_pod_name="web"})')
        with urllib.request.urlopen(f"http://{address}/api/v1/metadata", timeout=5) as answer:
            metadata = json.load(answer)["data"]

    assert ["1"] == [each["value"][1] for each in up]
    assert {"web", 'a "b"\\\n'} == {each["metric"]["k8s_pod_name"] for each in rates}
    [web] = [float(each["value"][1]) for each in rates if each["metric"]["k8s_pod_name"] == "web"]
    assert 80 < web < 120
    # over a minute of which only the last seconds are known, Prometheus answers with less than the true rate
    assert 0 < max(float(each["value"][1]) for each in minute) < 120
    assert ["1"] == [each["value"][1] for each in quantile]
    assert [{"type": "histogram", "help": "Issue to completion", "unit": "seconds"}] == metadata[
        "ebpf_block_io_duration_seconds"
    ]


@needs_current
def test_a_current_prometheus_makes_native_histograms_of_ours(tmp_path):
    """One series each, with our own bounds and without loss, as configured there; this needs no protobuf."""
    native, name = {"convert_classic_histograms_to_nhcb": True}, "ebpf_block_io_duration_seconds"
    with counting() as target, prometheus(tmp_path, target, program=CURRENT, more=native) as address:
        first_answer(address, name, bool)
        counts, fast, classic = (
            [each["value"][1] for each in query(address, asked)]
            for asked in (
                f'histogram_count({name}{{k8s_pod_name="web"}})',
                f'histogram_fraction(0, 0.001, {name}{{k8s_pod_name="web"}}) * 6',
                f"{name}_bucket",
            )
        )

    assert (["6"], ["1"], []) == (counts, fast, classic)
