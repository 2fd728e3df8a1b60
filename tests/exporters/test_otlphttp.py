# SPDX-License-Identifier: Apache-2.0
"""The exporter ``otlphttp`` against servers that answer whatever the specification allows, and worse."""

import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from email.utils import formatdate

import pytest
from google.rpc.status_pb2 import Status
from otlp_servers import answer, http_server, make_certificates, metrics_of

from ebpf_sidecar.exporters.otlphttp import OtlpHttpExporter, register_components
from ebpf_sidecar.pipeline import ComponentKind, SendError, SidecarError
from ebpf_sidecar.pipeline.testing import NOON, FakeClock, fake_context, frame

[FACTORY] = register_components()
PROTOBUF = {"content-type": "application/x-protobuf"}


@contextmanager
def exporter(**settings):
    """An exporter with these settings, started."""
    context = fake_context(ComponentKind.EXPORTER, "otlphttp", clock=FakeClock())
    made = OtlpHttpExporter(FACTORY.settings.model_validate(settings), context)
    made.start()
    try:
        yield made
    finally:
        made.shutdown()


def send(made, *frames):
    """Encode the frames and send every payload."""
    for payload in made.encode(frames):
        made.send(payload)


def problem(status, headers, body=b"", **settings):
    """How the exporter reports that answer."""
    with (
        http_server([(status, headers, body)]) as server,
        exporter(endpoint=f"http://127.0.0.1:{server.port}", **settings) as made,
        pytest.raises(SendError) as raised,
    ):
        send(made, frame("work", [1, 2, 3]))
    return raised.value


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate", "zstd"])
def test_what_is_exported_arrives(compression):
    """On one connection, with the headers of the settings and our name."""
    with http_server() as server:
        endpoint = f"http://127.0.0.1:{server.port}/base/"
        with exporter(endpoint=endpoint, compression=compression, headers={"X-Scope-OrgID": "7"}) as made:
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
        exporter(metrics_endpoint=f"http://127.0.0.1:{server.port}/api/v1/otlp/v1/metrics") as made,
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
    with http_server([(200, headers, body)]) as server, exporter(endpoint=f"http://127.0.0.1:{server.port}") as made:
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
        exporter(endpoint=f"http://127.0.0.1:{port}", timeout="500ms") as made,
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
        with exporter(endpoint=f"http://{host}") as made, pytest.raises(SendError) as raised:
            send(made, frame("work", [1]))
        assert raised.value.retry


def test_a_connection_that_the_server_closed_in_between_is_opened_again():
    """Servers close idle connections; the next request must not fail because of that."""
    with (
        http_server([(200, {**PROTOBUF, "connection": "close"}, b"")]) as server,
        exporter(endpoint=f"http://127.0.0.1:{server.port}") as made,
    ):
        send(made, frame("work", [1]))
        time.sleep(0.1)
        send(made, frame("work", [2]))

    assert 2 == len(server.requests)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, a server and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def server_context(certificates, *, mutual=False):
    """What a server with these certificates needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.file("server.pem"), certificates.file("server.key"))
    if mutual:
        context.load_verify_locations(certificates.file("ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_files(certificates):
    """The settings of a client that the server knows."""
    return {
        "ca_file": certificates.file("ca.pem"), "cert_file": certificates.file("client.pem"),
        "key_file": certificates.file("client.key"),
    }  # fmt: skip


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_requests_are_encrypted(certificates, mutual):
    """And the server may ask who we are."""
    tls = client_files(certificates) if mutual else {"ca_file": certificates.file("ca.pem")}
    with (
        http_server(context=server_context(certificates, mutual=mutual)) as server,
        exporter(endpoint=f"https://localhost:{server.port}", tls=tls) as made,
    ):
        send(made, frame("work", [1]))

    assert 1 == len(server.requests)


def test_a_server_whose_certificate_nobody_knows_gets_nothing(certificates):
    """It stays a failure that may pass: certificates are replaced while we run."""
    with (
        http_server(context=server_context(certificates)) as server,
        exporter(endpoint=f"https://localhost:{server.port}") as made,
        pytest.raises(SendError, match="CERTIFICATE_VERIFY_FAILED") as raised,
    ):
        send(made, frame("work", [1]))

    assert [] == server.requests
    assert raised.value.retry


def test_the_name_in_the_certificate_may_be_another_one(certificates):
    """Behind a tunnel or an address without a name."""
    files = {"ca_file": certificates.file("ca.pem")}
    with http_server(context=server_context(certificates)) as server:
        with (
            exporter(endpoint=f"https://127.0.0.2:{server.port}", tls=files) as made,
            pytest.raises(SendError),
        ):
            send(made, frame("work", [1]))
        named = {**files, "server_name_override": "localhost"}
        with exporter(endpoint=f"https://127.0.0.1:{server.port}", tls=named) as made:
            send(made, frame("work", [2]))

    assert [("work", [2])] == metrics_of(server.requests)


def test_new_certificates_are_used_without_a_restart(certificates, tmp_path):
    """Those in use go on to be used while the new ones are half written."""
    authority = tmp_path / "ca.pem"
    authority.write_bytes(certificates.read("ca.pem"))
    with (
        http_server(context=server_context(certificates)) as server,
        exporter(endpoint=f"https://localhost:{server.port}", tls={"ca_file": str(authority)}) as made,
    ):
        clock = made._client.clock
        authority.write_text("-----BEGIN CERTIFICATE-----\nhalf")
        clock.advance(61)
        send(made, frame("work", [1]))
        authority.write_bytes(make_certificates(tmp_path / "other").read("ca.pem"))
        clock.advance(61)
        with pytest.raises(SendError, match="CERTIFICATE_VERIFY_FAILED"):
            send(made, frame("work", [2]))
        authority.write_bytes(certificates.read("ca.pem"))
        clock.advance(61)
        send(made, frame("work", [3]))

    assert [("work", [1]), ("work", [3])] == metrics_of(server.requests)


def test_a_certificate_that_is_none_keeps_the_service_from_starting(tmp_path):
    """With what is wrong with it."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with (
        pytest.raises(SidecarError, match="tls: a certificate or key cannot be used"),
        exporter(endpoint="https://localhost:4318", tls={"ca_file": str(path)}),
    ):
        pass


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    """As by every other program on the machine."""
    with http_server() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with exporter(endpoint="http://collector.example:4318") as made:
            send(made, frame("work", [1]))

    assert ["http://collector.example:4318/v1/metrics"] == proxy.paths
