# SPDX-License-Identifier: Apache-2.0
"""The whole service as a process, with and without privileges: what the SDK's own exporters send comes out of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from otlp_requests import metrics_data, request_of
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from waiting import until

from ebpf_sidecar.exporters.printing.json_lines import JsonLines
from ebpf_sidecar.pipeline import ExponentialBuckets, Kind
from ebpf_sidecar.pipeline.bucket_merging import merged
from ebpf_sidecar.pipeline.process.capabilities import capability_sets
from ebpf_sidecar.pipeline.recording.file import Recording
from ebpf_sidecar.receivers.replay import PACKAGED

CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  prometheus: {{endpoint: "127.0.0.1:{http}", start_at_zero: false, fold_beyond: null}}
  debug: {{verbosity: detailed, format: json, limit: 0}}
service:
  pipelines: {{metrics: {{receivers: [otlp], exporters: [prometheus, debug]}}}}
"""
NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
USERS = [pytest.param(None, id="own user"), pytest.param(NOBODY, id="nobody", marks=ROOT_ONLY)]


def free_port():
    """A free port on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Service:
    """A running service. ``grpc`` and ``http`` are its ports."""

    def __init__(self, folder, user):
        self.grpc, self.http = free_port(), free_port()
        self._output, self.log = folder / "output", folder / "log"
        as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        program = "from ebpf_sidecar.pipeline.cli.main import main; main()"
        with self._output.open("wb") as output, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, "run", "--config", "env:OTLP_CONFIG"],
                stdout=output, stderr=log, cwd="/", **as_user,
                env={**os.environ, "OTLP_CONFIG": CONFIG.format(grpc=self.grpc, http=self.http)},
            )  # fmt: skip

    def get(self, path):
        """The body of a page; nothing while it is not served."""
        headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers=headers), timeout=10
            ) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def lines(self):
        """What the exporter debug has written."""
        return [json.loads(line) for line in self._output.read_text().splitlines()]

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def running(folder, user=None):
    """A service that is ready."""
    service = Service(folder, user)
    try:
        assert until(lambda: service.get("/ready") or service.process.poll() is not None), service.log.read_text()
        yield service
    finally:
        service.process.kill()
        service.process.wait()


def recorded():
    """The last batch of the packaged recording: real kernel data of every kind."""
    *_, last = Recording(PACKAGED).batches(print)
    explicit = []
    for frame in last.frames:
        if not len(frame) or (frame.kind is Kind.HISTOGRAM and not frame.values.any()):
            continue
        exponential = isinstance(frame.buckets, ExponentialBuckets)
        explicit.append(merged(frame, frame.bounds[::2]) if exponential else frame)
    return explicit


def exported_lines(frames):
    """What the exporter debug writes of these frames, without the order of attributes."""
    return [json.loads(line) for line in JsonLines(1 << 30).detailed(frames)]


def comparable(lines):
    """In any order."""
    return sorted(json.dumps(line, sort_keys=True) for line in lines)


def send(service, protocol, frames):
    """Send frames by the SDK's exporter; the result."""
    if protocol == "grpc":
        exporter = GrpcExporter(endpoint=f"http://127.0.0.1:{service.grpc}", insecure=True)
    else:
        url = f"http://127.0.0.1:{service.http}/v1/metrics"
        exporter = HttpExporter(endpoint=url, compression=Compression.Gzip)
    try:
        return exporter.export(metrics_data(frames))
    finally:
        exporter.shutdown()


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_the_official_exporter_sends_comes_out_point_by_point(tmp_path, protocol, user):
    """Real kernel data, on the page and as lines; sent twice, the page shows it once."""
    frames = recorded()
    with running(tmp_path, user) as service:
        sent = [send(service, protocol, frames) for _ in range(2)]
        page = service.get("/metrics")
        lines = service.lines()
        rights = capability_sets(Path(f"/proc/{service.process.pid}/task/{service.process.pid}"))

        assert 0 == service.stop(), service.log.read_text()

    expected = exported_lines(frames)
    assert [MetricExportResult.SUCCESS] * 2 == sent
    assert comparable(expected) == comparable(lines[: len(expected)]) == comparable(lines[len(expected) :])
    assert not rights["CapEff"] | rights["CapPrm"]
    samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0) + sample.value
    accepted = samples["ebpf_sidecar_receiver_accepted_metric_points_total"]
    assert 2 * sum(map(len, frames)) == accepted
    reads = next(frame for frame in frames if frame.name == "ebpf.cache.read_attempts")
    assert samples["ebpf_cache_read_attempts_total"] == reads.values.sum()


def test_what_was_acknowledged_before_sigterm_came_out(tmp_path):
    """Under load: every batch that a client knows of is among the lines."""
    frames = recorded()[:3]
    with running(tmp_path) as service:
        acknowledged, stopping = 0, None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if send_once(service, frames):
                acknowledged += 1
            elif stopping is not None:
                break
            if acknowledged == 20 and stopping is None:
                stopping = service.process.send_signal(signal.SIGTERM) or True

        assert 0 == service.process.wait(20), service.log.read_text()
        written = len(service.lines())

    assert acknowledged >= 20
    assert acknowledged * sum(map(len, frames)) <= written


def send_once(service, frames):
    """Whether the service acknowledged a batch, asked only once."""
    body = request_of(*frames).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"http://127.0.0.1:{service.http}/v1/metrics", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False
