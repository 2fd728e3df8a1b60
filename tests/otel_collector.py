# SPDX-License-Identifier: Apache-2.0
"""A real OpenTelemetry Collector that receives OTLP and writes what it received to a file."""

import json
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from peers import cached, free_addresses, needs_peer, running
from waiting import until

needs_collector = needs_peer("otelcol")


@dataclass(frozen=True)
class OtelCollector:
    """A running collector, and where it listens: ``host:port`` each."""

    grpc: str
    http: str
    written: Path
    log: Path
    process: subprocess.Popen

    def received(self):
        """What it has written so far, one message for each request unless it was told to batch."""
        return list(_messages(self.written.read_bytes()))

    def received_after(self, accept, seconds=30):
        """What it has written as soon as that is accepted, or when time is up."""
        until(lambda: accept(self.received()), seconds)
        return self.received()


@contextmanager
def otel_collector(folder, *, tls=None, client_tls=False, changes=()):
    """A collector that passes metrics from OTLP to a file in the folder.

    ``tls``: the ``Certificates`` of its receivers, ``client_tls``: whether it asks clients for theirs. ``changes``: a
    configuration that is merged into ours, so ``{"processors": {"batch": {}}}`` adds a processor.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grpc, http, health = free_addresses(3)
    written = folder / "metrics.binpb"
    written.touch()
    config = merged(_configuration(written, grpc, http, health, _receiver_tls(tls, client_tls)), dict(changes))
    file = folder / "otelcol.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML, too
    log = folder / "log"
    with running([cached("otelcol") / "otelcol", "--config", file], log, lambda: _answers(health)) as process:
        yield OtelCollector(grpc, http, written, log, process)


def merged(config, changes):
    """A configuration with changes at any depth; lists are replaced."""
    both = {
        key: merged(config[key], value) if isinstance(value, dict) and isinstance(config.get(key), dict) else value
        for key, value in changes.items()
    }
    return {**config, **both}


def _configuration(written, grpc, http, health, tls):
    protocols = {"grpc": {"endpoint": grpc, "max_recv_msg_size_mib": 64, **tls}, "http": {"endpoint": http, **tls}}
    pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
    return {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {"file": {"path": str(written), "format": "proto", "flush_interval": "100ms"}},
        "extensions": {"health_check": {"endpoint": health}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {"metrics": pipeline},
        },
    }


def _receiver_tls(certificates, client_tls):
    if certificates is None:
        return {}
    server = {"cert_file": certificates.file("server.pem"), "key_file": certificates.file("server.key")}
    asked = {"client_ca_file": certificates.file("ca.pem")} if client_tls else {}
    return {"tls": {**server, **asked}}


def _answers(health):
    try:
        with urllib.request.urlopen(f"http://{health}/", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _messages(content):
    """Messages, each after its length as 4 bytes; the last one may be on its way."""
    while len(content) >= 4 and len(content) >= (end := 4 + int.from_bytes(content[:4], "big")):
        yield MetricsData.FromString(content[4:end])
        content = content[end:]
