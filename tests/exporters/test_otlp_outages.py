# SPDX-License-Identifier: Apache-2.0
"""The whole service while its back ends fail in every way: the others go on, every point is accounted for, and what
comes back is used again without a restart."""

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest
from grpc import StatusCode
from otlp_servers import grpc_server, http_server, make_certificates, metrics_of
from running_service import free_port, running_service

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


@contextmanager
def service(folder, **exporters):
    """A service that replays a recording to these exporters: settings by id."""
    port = free_port()
    lines = "\n".join(f"  {name.replace('__', '/')}: {{{settings}, {PUSH}}}" for name, settings in exporters.items())
    names = ", ".join(name.replace("__", "/") for name in exporters)
    with running_service(folder, CONFIG.format(port=port, exporters=lines, names=names), port) as started:
        yield started


def sent(exporter):
    """A condition: the exporter has delivered something since `found`."""
    return lambda found: found.get(("exporter_sent_metric_points", exporter), 0) > 0


def unsettled(found, exporter):
    """Points that were offered to the exporter and are nowhere: delivered, failed, dropped or waiting."""
    settled = ("sent", "send_failed", "enqueue_failed")
    offered = found["exporter_offered_metric_points", exporter]
    known = sum(found.get((f"exporter_{name}_metric_points", exporter), 0) for name in settled)
    return offered - known - found["exporter_queued_metric_points", exporter]


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
