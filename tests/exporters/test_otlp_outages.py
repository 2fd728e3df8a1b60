# SPDX-License-Identifier: Apache-2.0
"""The whole service while its back ends fail in every way: the others go on, every point is accounted for, and what
comes back is used again without a restart."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass

import pytest
from grpc import StatusCode
from otlp_servers import grpc_server, http_server, make_certificates, metrics_of

COMMAND = [sys.executable, "-c", "import sys; from ebpf_sidecar.pipeline.cli.main import main; main()"]
PUSH = (
    "timeout: 500ms, sending_queue: {queue_size: 4}, "
    "retry_on_failure: {initial_interval: 100ms, max_interval: 200ms, max_elapsed_time: 2s}"
)
CONFIG = """
receivers:
  replay: {{collection_interval: 200ms}}
exporters:
  prometheus: {{endpoint: "127.0.0.1:{port}"}}
{exporters}
service:
  shutdown_timeout: 3s
  pipelines:
    metrics: {{receivers: [replay], exporters: [prometheus, {names}]}}
"""
SAMPLE = re.compile(r'^ebpf_sidecar_(\w+?)(?:_total)?\{.*?(?:exporter|receiver)="([^"]+)".*\} (\S+)$', re.MULTILINE)


def free_port():
    """A port on which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen
    port: int
    log: object

    def page(self):
        """What `/metrics` shows now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def counted(self):
        """The service's own counters of one page, by name and component."""
        return {(name, component): float(value) for name, component, value in SAMPLE.findall(self.page())}

    def until(self, condition, seconds=20):
        """Wait until the counters are as asked for; returns them."""
        end = time.monotonic() + seconds
        while not condition(found := self.counted()):
            assert time.monotonic() < end, (found, self.log.read_text())
            time.sleep(0.1)
        return found

    def stop(self):
        """SIGTERM; the exit code and the log."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20), self.log.read_text()


@contextmanager
def service(folder, **exporters):
    """A service that replays a recording to these exporters: settings by id."""
    port = free_port()
    lines = "\n".join(f"  {name.replace('__', '/')}: {{{settings}, {PUSH}}}" for name, settings in exporters.items())
    names = ", ".join(name.replace("__", "/") for name in exporters)
    config, log = folder / "config.yaml", folder / "log"
    config.write_text(CONFIG.format(port=port, exporters=lines, names=names))
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "run", "--config", str(config)], stderr=output)
    started = Service(process, port, log)
    try:
        end = time.monotonic() + 60
        while True:
            with suppress(OSError):
                if started.counted().get(("receiver_accepted_metric_points", "replay")):
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield started
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def sent(exporter):
    """A condition: the exporter has delivered something since `found`."""
    return lambda found: found.get(("exporter_sent_metric_points", exporter), 0) > 0


def unsettled(found, exporter):
    """Points that were accepted for the exporter and are nowhere: delivered, failed, dropped or waiting."""
    settled = ("sent", "send_failed", "enqueue_failed")
    accepted = found["receiver_accepted_metric_points", "replay"]
    known = sum(found.get((f"exporter_{name}_metric_points", exporter), 0) for name in settled)
    return accepted - known - found["exporter_queued_metric_points", exporter]


@contextmanager
def raw_server(serve):
    """A server that gives each connection to ``serve``, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept():
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=_served, args=(serve, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def _served(serve, connection):
    with connection, suppress(OSError):
        serve(connection)


def drip(connection):
    """Take and answer a byte a second."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    while connection.recv(1):
        time.sleep(1)


def hang_up(connection):
    """Close in the middle of the request."""
    connection.recv(100)


def _all_failed(found, names):
    failed = ("exporter_send_failed_metric_points", "exporter_enqueue_failed_metric_points")
    return all(any(found.get((name, each), 0) for name in failed) for each in names)


def test_back_ends_that_fail_disturb_nobody_and_every_point_is_accounted_for(tmp_path):
    """Away, slow, closing, refusing, unknown, with a wrong certificate: for longer than the queue lasts."""
    authority = make_certificates(tmp_path / "certificates").file("ca.pem")
    with ExitStack() as stack:
        slow, closing_, good = (
            stack.enter_context(each) for each in (raw_server(drip), raw_server(hang_up), http_server())
        )
        refusing = stack.enter_context(grpc_server([(StatusCode.INVALID_ARGUMENT, "no", None)] * 1000))
        busy = stack.enter_context(grpc_server([(StatusCode.UNAVAILABLE, "later", 0.1)] * 1000))
        exporters = {
            "otlp__away": f'endpoint: "http://127.0.0.1:{free_port()}"',
            "otlp__unknown": 'endpoint: "http://no-such-host.invalid:4317"',
            "otlp__refusing": f'endpoint: "http://127.0.0.1:{refusing.port}"',
            "otlp__busy": f'endpoint: "http://127.0.0.1:{busy.port}"',
            "otlphttp__slow": f'endpoint: "http://127.0.0.1:{slow}"',
            "otlphttp__closing": f'endpoint: "http://127.0.0.1:{closing_}"',
            "otlphttp__wrong": f'endpoint: "https://127.0.0.1:{closing_}", tls: {{ca_file: {authority}}}',
            "otlphttp__good": f'endpoint: "http://127.0.0.1:{good.port}"',
        }
        names = [name.replace("__", "/") for name in exporters]
        with service(tmp_path, **exporters) as running:
            running.until(lambda found: _all_failed(found, names[:-1]) and sent("otlphttp/good")(found))
            found = running.until(lambda found: not any(unsettled(found, name) for name in names))
            code, log = running.stop()

    assert 0.0 == found.get(("exporter_send_failed_metric_points", "otlphttp/good"))
    assert found["exporter_send_failed_metric_points", "otlp/refusing"] > 0
    assert (1, True, False) == (code, "not drained within 3s: " in log, "Traceback" in log)


@pytest.mark.parametrize("kind", ["otlp", "otlphttp"])
def test_a_back_end_that_comes_later_or_back_gets_what_waits(tmp_path, kind):
    """Down at the start, then there, then down again, and there again."""
    port = free_port()
    up = (lambda: grpc_server(endpoint=f"127.0.0.1:{port}")) if kind == "otlp" else (lambda: http_server(port=port))
    with service(tmp_path, **{kind: f'endpoint: "http://127.0.0.1:{port}"'}) as running:
        time.sleep(1)
        with up() as first:
            before = running.until(sent(kind))
        time.sleep(1)
        with up() as second:
            enough = before["exporter_sent_metric_points", kind]
            running.until(lambda found: found["exporter_sent_metric_points", kind] > enough and second.requests)
            running.until(lambda found: not unsettled(found, kind))
            code, _ = running.stop()

    assert {"ebpf.cache.read_attempts"} <= {name for name, _ in metrics_of(first.requests)}
    assert 0 == code
