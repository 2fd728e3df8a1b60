# SPDX-License-Identifier: Apache-2.0
"""The service with a queue on disk, as its user runs it: without privileges, killed, restarted, and twice."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from otlp_servers import http_server
from stored_payloads import MIB
from waiting import until

from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.storage.payload_database import PayloadDatabase

CONFIG = """
receivers: {{replay: {{speed: 100}}}}
exporters:
  otlphttp:
    endpoint: "http://127.0.0.1:{port}"
    compression: none
    sending_queue: {{storage: file_storage, queue_size: 1GiB, num_consumers: {consumers}}}
    retry_on_failure: {{initial_interval: 10ms, max_interval: 20ms, max_elapsed_time: 0s}}
extensions:
  file_storage: {{directory: "{folder}/queues", create_directory: true}}
  health_check: {{endpoint: "127.0.0.1:{own_port}"}}
service:
  extensions: [file_storage, health_check]
  pipelines: {{metrics: {{receivers: [replay], exporters: [otlphttp]}}}}
"""
COMMAND = [sys.executable, "-c", "import sys; from ebpf_sidecar.pipeline.cli.main import main; main()"]
BUSY = (503, {"content-type": "application/x-protobuf"}, b"")
CONSUMERS, EXPORTER = 2, "ebpf_sidecar.exporter."


@dataclass
class Services:
    """Services with the same configuration, one after the other or at the same time."""

    folder: Path
    port: int
    own_port: int
    started: list = field(default_factory=list)

    def start(self, *options):
        """A running service."""
        config, log = self.folder / "config.yaml", self.folder / f"log{len(self.started)}"
        config.write_text(
            CONFIG.format(port=self.port, own_port=self.own_port, folder=self.folder, consumers=CONSUMERS)
        )
        with log.open("wb") as output:
            process = subprocess.Popen([*COMMAND, "run", "--config", str(config), *options], stderr=output)
        process.log = log
        self.started.append(process)
        return process

    def stats(self):
        """Its own counters and gauges by name; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.own_port}/api/v1/stats", timeout=5) as answer:
                metrics = json.load(answer)["metrics"]
        except OSError:
            return {}
        return {each["name"]: each["value"] for each in metrics}

    def until(self, condition):
        """The stats once they fulfil it."""
        found = until(lambda: (stats := self.stats()) and condition(stats) and stats)
        assert found, self.started[-1].log.read_text()
        return found

    def on_disk(self):
        """The bodies that wait, when no service runs."""
        [file] = (self.folder / "queues").glob("*.sqlite3")
        store, after, bodies = PayloadDatabase(file, 64 * MIB, False, print), 0, []
        while (each := store.oldest(after)) is not None:
            after = each.sequence
            bodies.append(each.payload)
        store.close()
        return bodies


def accounted(stats):
    """Points that were given to the exporter or left by an earlier process, and what is known of them."""
    given = stats["ebpf_sidecar.receiver.accepted_metric_points"] + stats[EXPORTER + "restored_metric_points"]
    outcomes = ("sent", "send_failed", "enqueue_failed", "queued")
    return given, sum(stats[f"{EXPORTER}{outcome}_metric_points"] for outcome in outcomes)


@pytest.fixture
def server():
    """A back end that answers as the test says."""
    with http_server() as server:
        yield server


@pytest.fixture
def services(tmp_path, server):
    """Services that send there; killed after the test."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        own_port = free.getsockname()[1]
    services = Services(tmp_path, server.port, own_port)
    yield services
    for process in services.started:
        process.kill()
        process.wait()


def test_what_waits_when_the_service_is_killed_arrives_after_its_restart(services, server, full_length):
    """At random moments, with a back end that is busy half of the time; little arrives twice, and ledgers close."""
    chance, stored, kills = random.Random(), [], 50 if full_length else 2
    for _ in range(kills):
        server.script[:] = [BUSY if chance.random() < 0.5 else (200, *BUSY[1:]) for _ in range(1000)]
        process = services.start()
        services.until(lambda stats: stats.get(EXPORTER + "queued_metric_points"))
        time.sleep(chance.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        stored.append(services.on_disk())
    server.script.clear()
    process = services.start()
    stats = services.until(lambda stats: stats.get(EXPORTER + "sent_metric_points", 0) > sum_of(stored[-1]))
    process.terminate()
    ended = process.wait(30)
    taken = [request for request, status in zip(server.requests, server.statuses, strict=True) if status == 200]
    arrived = Counter(map(content, taken))

    assert sum_of(stored[-1]) == stats[EXPORTER + "restored_metric_points"]
    assert set() == {content(each) for payloads in stored for each in payloads} - arrived.keys()
    assert len(taken) - len(arrived) <= kills * CONSUMERS
    assert 0 == ended, process.log.read_text()


def content(request):
    """A request in one form, whoever encoded it."""
    if isinstance(request, Payload):
        request = ExportMetricsServiceRequest.FromString(request.body)
    return request.SerializeToString(deterministic=True)


def sum_of(payloads):
    """Their points."""
    return sum(each.points for each in payloads)


def test_an_outage_longer_than_the_service_loses_nothing(services, server):
    """The ledger closes while the back end is down, at the end, and in the next service; exit code 0, nothing lost."""
    server.script[:] = [BUSY] * 100_000
    process = services.start()
    services.until(lambda stats: stats.get(EXPORTER + "queued_metric_points", 0) > 1000)
    process.terminate()
    ended = process.wait(30)
    left = services.on_disk()
    server.script.clear()
    services.start()
    services.until(lambda stats: stats.get(EXPORTER + "sent_metric_points", 0) > sum_of(left))
    closes = until(lambda: len(set(accounted(services.stats()))) == 1, 10)

    assert 0 == ended, process.log.read_text()
    assert "lost" not in process.log.read_text()
    assert sum_of(left) > 1000
    assert f"{sum_of(left)} data points for otlphttp wait since an earlier run" in services.started[-1].log.read_text()
    assert closes


def test_an_extension_that_stores_nothing_is_named(services):
    """It runs, so the check cannot know."""
    wrong = ("--set", "exporters.otlphttp.sending_queue.storage=health_check")
    service = services.start(*wrong)
    ended = service.wait(60)

    assert 1 == ended
    assert 'otlphttp: extension "health_check" stores nothing; name a file_storage' in service.log.read_text()


def test_a_second_service_on_the_same_folder_is_refused(services):
    """In one line that names the first."""
    first = services.start()
    services.until(lambda stats: stats.get(EXPORTER + "sent_metric_points"))
    second = services.start()
    ended = second.wait(60)
    [line] = [line for line in second.log.read_text().splitlines() if "queues" in line]

    assert 1 == ended
    assert f"is in use by process {first.pid}; stop that process, or choose another directory" in line
    assert "file_storage: " in line
    assert "Traceback" not in second.log.read_text()
