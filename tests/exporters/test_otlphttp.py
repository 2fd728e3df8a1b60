# SPDX-License-Identifier: Apache-2.0
"""The exporter ``otlphttp`` against servers that answer whatever the specification allows, and worse."""

import socket
import threading
import time
from contextlib import contextmanager, suppress
from email.utils import formatdate

import pytest
from google.rpc.status_pb2 import Status
from otlp_senders import send, sender
from otlp_servers import answer, http_server, metrics_of

from ebpf_sidecar.pipeline import SendError
from ebpf_sidecar.pipeline.testing import NOON, frame

PROTOBUF = {"content-type": "application/x-protobuf"}


def problem(status, headers, body=b"", **settings):
    """How the exporter reports that answer."""
    with (
        http_server([(status, headers, body)]) as server,
        sender("otlphttp", endpoint=f"http://127.0.0.1:{server.port}", **settings) as made,
        pytest.raises(SendError) as raised,
    ):
        send(made, frame("work", [1, 2, 3]))
    return raised.value


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate", "zstd"])
def test_what_is_exported_arrives(compression):
    """On one connection, with the headers of the settings and our name."""
    with http_server() as server:
        endpoint = f"http://127.0.0.1:{server.port}/base/"
        with sender("otlphttp", endpoint=endpoint, compression=compression, headers={"X-Scope-OrgID": "7"}) as made:
            send(made, frame("work", [1, 2, 3]))
            send(made, frame("work", [4]))

    assert [("work", [1, 2, 3]), ("work", [4])] == metrics_of(server.requests)
    headers = server.headers[0]
    assert ("7", "application/x-protobuf") == (headers["x-scope-orgid"], headers["content-type"])
    assert headers["user-agent"].startswith("ebpf-sidecar/")
    assert "/base/v1/metrics" == server.paths[0]


def test_a_metrics_endpoint_is_used_as_it_is():
    """Not every server has the usual path."""
    with (
        http_server() as server,
        sender("otlphttp", metrics_endpoint=f"http://127.0.0.1:{server.port}/api/v1/otlp/v1/metrics") as made,
    ):
        send(made, frame("work", [1]))

    assert ["/api/v1/otlp/v1/metrics"] == server.paths


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_some_statuses_are_retried(status):
    """As late as the server asks, in seconds or by the clock."""
    assert (True, 0.0) == (problem(status, {}).retry, problem(status, {}).retry_after)
    assert 12.0 == problem(status, {"retry-after": "12"}).retry_after
    assert 30.0 == problem(status, {"retry-after": formatdate(NOON // 10**9 + 30, usegmt=True)}).retry_after
    assert 0.0 == problem(status, {"retry-after": "soon"}).retry_after


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 413, 415, 500, 501])
def test_all_others_are_for_good(status):
    """Sent again, they would be answered the same."""
    assert not problem(status, {"retry-after": "12"}).retry


def test_the_reason_of_a_refusal_is_shown():
    """Text, or a status of the protocol; and where a redirection leads."""
    status = Status(code=3, message="no such\ntenant").SerializeToString()

    assert "the server answered 400: no such tenant" == str(problem(400, PROTOBUF, status))
    assert "the server answered 401: go away" == str(problem(401, {"content-type": "text/plain"}, b" go\naway "))
    assert "the server answered 403" == str(problem(403, {}, b"\xff\xfe"))
    assert "the server answered 307 (to https://else/)" == str(problem(307, {"location": "https://else/"}))


def test_an_answer_of_a_server_that_knows_no_otlp_is_no_success():
    """As the login page of a proxy."""
    found = problem(200, {"content-type": "text/html"}, b"<html>log in</html>")

    assert not found.retry
    assert "the answer (text/html) is not OTLP's; check the endpoint and its path" == str(found)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PROTOBUF, answer(rejected=2, message="too old").SerializeToString()),
        (
            {"content-type": "application/json; charset=utf-8"},
            b'{"partialSuccess": {"rejectedDataPoints": "2", "errorMessage": "too old"}, "later": 1}',
        ),
    ],
    ids=["protobuf", "json"],
)
def test_points_that_the_server_rejects_are_counted_and_not_sent_again(headers, body):
    """The others are delivered."""
    found = problem(200, headers, body)

    assert ({"partial_success": 2}, None) == (found.rejected, found.remaining)
    assert "the server rejected 2 points: too old" == str(found)


@pytest.mark.parametrize(
    ("headers", "body"), [(PROTOBUF, b""), ({"content-type": "application/json"}, b"{}"), ({}, b"")]
)
def test_an_empty_answer_is_success(headers, body):
    """Servers differ in what they say then."""
    with (
        http_server([(200, headers, body)]) as server,
        sender("otlphttp", endpoint=f"http://127.0.0.1:{server.port}") as made,
    ):
        send(made, frame("work", [1]))

    assert 1 == len(server.requests)


@contextmanager
def raw_server(serve):
    """A server that gives each connection to ``serve``."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept():
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def drip(connection):
    """Answer a byte at a time, without end."""
    connection.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nX-Slow: " + b"x" * 10_000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def hang_up(connection):
    """Close in the middle of the request."""
    connection.recv(10)


def half(connection):
    """Close in the middle of the answer."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def silent(connection):
    """Say nothing."""
    connection.recv(65536)
    time.sleep(5)


def nonsense(connection):
    """Speak another protocol."""
    connection.recv(65536)
    connection.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize("serve", [drip, hang_up, half, silent, nonsense])
def test_a_server_that_does_not_answer_in_time_or_at_all_is_tried_again(serve):
    """``timeout`` is that of the whole attempt, not of a byte."""
    before = time.monotonic()
    with (
        raw_server(serve) as port,
        sender("otlphttp", endpoint=f"http://127.0.0.1:{port}", timeout="500ms") as made,
        pytest.raises(SendError) as raised,
    ):
        send(made, frame("work", [1]))

    assert raised.value.retry
    assert f"http://127.0.0.1:{port}/v1/metrics: " in str(raised.value)
    assert time.monotonic() - before < 4


def test_a_server_that_is_away_is_tried_again_and_found_when_it_is_back():
    """And so is a name that cannot be resolved."""
    with http_server() as server:
        port = server.port
    for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
        with sender("otlphttp", endpoint=f"http://{host}") as made, pytest.raises(SendError) as raised:
            send(made, frame("work", [1]))
        assert raised.value.retry


def test_a_connection_that_the_server_closed_in_between_is_opened_again():
    """Servers close idle connections; the next request must not fail because of that."""
    with (
        http_server([(200, {**PROTOBUF, "connection": "close"}, b"")]) as server,
        sender("otlphttp", endpoint=f"http://127.0.0.1:{server.port}") as made,
    ):
        send(made, frame("work", [1]))
        time.sleep(0.1)
        send(made, frame("work", [2]))

    assert 2 == len(server.requests)


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    """As by every other program on the machine."""
    with http_server() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with sender("otlphttp", endpoint="http://collector.example:4318") as made:
            send(made, frame("work", [1]))

    assert ["http://collector.example:4318/v1/metrics"] == proxy.paths
