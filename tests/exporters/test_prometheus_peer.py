# SPDX-License-Identifier: Apache-2.0
"""Prometheus itself reads our page."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager

import pytest

from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet
from ebpf_sidecar.pipeline.clock import SystemClock
from ebpf_sidecar.pipeline.endpoint import Address
from ebpf_sidecar.pipeline.server import HttpServers
from ebpf_sidecar.pipeline.testing import fake_context, frame

pytestmark = pytest.mark.peer

ROWS = RowSet.of([{"k8s.pod.name": "web"}, {"k8s.pod.name": 'a "b"\\\n'}])


def needs(program):
    """Skips the test where the program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed (package prometheus)")


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
def prometheus(folder, target):
    """A Prometheus server that scrapes ``target`` each second; yields its own address."""
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [{"job_name": "sidecar", "static_configs": [{"targets": [target]}]}],
            }
        )
    )
    with Address("127.0.0.1", 0).listen() as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *arguments, f"--web.listen-address={address}"], stdout=log, stderr=log
        )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(20)


def query(address, expression):
    """The result of an instant query; empty while Prometheus is starting."""
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def first_answer(address, expression, accept, seconds=30):
    """The result of a query as soon as it is accepted, or the last one when time is up."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not accept(result := query(address, expression)) and time.monotonic() < deadline:
        pause.wait(0.2)  # a real server in real time: there is nothing to be notified by
    return result


@needs("prometheus")
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
