# SPDX-License-Identifier: Apache-2.0
"""The HTTP servers answer everybody, whatever some clients do."""

import http.client
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ebpf_sidecar.pipeline import SidecarError
from ebpf_sidecar.pipeline.component import Response
from ebpf_sidecar.pipeline.listener import EXCHANGE_SECONDS, Listener
from ebpf_sidecar.pipeline.server import HttpServers

ANY = "127.0.0.1:0"
LARGE = b"x" * 20_000_000


@pytest.fixture
def servers():
    """Started servers, closed after the test."""
    servers = HttpServers()
    servers.start()
    yield servers
    servers.shutdown()


def ask(servers, path="/metrics", method="GET", body=None, endpoint=ANY):
    """Status, headers and body of the answer."""
    connection = http.client.HTTPConnection(*servers.bound(endpoint), timeout=10)
    try:
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def saying(text):
    """A handler that always answers the same."""
    return lambda request: Response(text)


def test_components_share_a_server_by_naming_the_same_endpoint(servers):
    """Two paths, one port."""
    servers.add(ANY, "/metrics", saying(b"m"))
    port = servers.bound(ANY)[1]
    servers.add(ANY, "/health", saying(b"h"))

    assert (b"m", b"h", port) == (ask(servers)[2], ask(servers, "/health")[2], servers.bound(ANY)[1])


def test_paths_added_before_start_are_served_from_then_on():
    """Nothing listens before."""
    servers = HttpServers()
    servers.add(ANY, "/metrics", saying(b"m"))
    with pytest.raises(KeyError):
        servers.bound(ANY)
    servers.start()
    answer = ask(servers)
    servers.shutdown()

    assert b"m" == answer[2]


def test_a_handler_sees_method_headers_and_query(servers):
    """Header names come in lower case."""
    seen = []
    servers.add(ANY, "/metrics", lambda request: seen.append(request) or Response(b""))
    host, port = servers.bound(ANY)
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/metrics?a=1&b=x%20y", headers={"X-Scrape-Timeout": "3"})
    connection.getresponse().read()
    connection.close()

    [request] = seen
    assert ("GET", "/metrics", {"a": "1", "b": "x y"}) == (request.method, request.path, request.query)
    assert "3" == request.headers["x-scrape-timeout"]


def test_head_has_the_headers_of_get_and_no_body(servers):
    """The length is the one that GET would have."""
    servers.add(ANY, "/metrics", saying(b"12345"))
    status, headers, body = ask(servers, method="HEAD")

    assert (200, "5", b"") == (status, headers["Content-Length"], body)


def test_an_unknown_path_is_told_the_known_ones(servers):
    """404 helps a person who mistyped."""
    servers.add(ANY, "/metrics", saying(b""))
    servers.add(ANY, "/health", saying(b""))
    status, _, body = ask(servers, "/metrcs")

    assert (404, b'"/metrcs" is not served here; these are: /health /metrics\n') == (status, body)


def test_other_methods_are_refused(servers):
    """405 names those that are allowed."""
    servers.add(ANY, "/metrics", saying(b""))
    status, headers, _ = ask(servers, method="POST", body=b"small")

    assert (405, "GET, HEAD") == (status, headers["Allow"])


def test_a_large_request_body_is_refused(servers):
    """413, without reading it to the end."""
    servers.add(ANY, "/metrics", saying(b""))
    with socket.create_connection(servers.bound(ANY), timeout=10) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 2000)

        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_failing_handler_is_answered_with_500_and_logged_once(servers, caplog):
    """The count goes on; other paths are served."""

    def fail(request):
        raise LookupError("our mistake")

    servers.add(ANY, "/metrics", fail)
    servers.add(ANY, "/health", saying(b"ok"))
    with caplog.at_level(logging.ERROR):
        answers = [ask(servers) for _ in range(3)]

    assert [500, 500, 500] == [status for status, _, _ in answers]
    assert b"our mistake" not in answers[0][2]
    assert ['answering "/metrics" failed; further failures are only counted'] == [r.message for r in caplog.records]
    assert {"/metrics": 3} == servers.failures(ANY)
    assert b"ok" == ask(servers, "/health")[2]


def test_a_taken_path_is_refused(servers):
    """Two exporters cannot have the same page."""
    servers.add(ANY, "/metrics", saying(b""))

    with pytest.raises(SidecarError, match=r'"/metrics" on "127\.0\.0\.1:0" is taken; choose another path'):
        servers.add(ANY, "/metrics", saying(b""))


def test_what_is_no_endpoint_is_refused(servers):
    """As the settings do."""
    with pytest.raises(SidecarError, match='"nowhere" is not an endpoint'):
        servers.add("nowhere", "/", saying(b""))


def test_a_port_in_use_stops_the_start_and_closes_what_was_opened():
    """Nothing is left listening, and the message names the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        servers = HttpServers()
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        servers.add(ANY, "/", saying(b""))
        servers.add(endpoint, "/", saying(b""))
        with pytest.raises(SidecarError, match=f'cannot listen on "{endpoint}": address already in use'):
            servers.start()

    with pytest.raises(KeyError):
        servers.bound(ANY)


def test_the_last_path_removed_closes_the_server(servers):
    """The port is free for others."""
    servers.add(ANY, "/a", saying(b""))
    servers.add(ANY, "/b", saying(b""))
    address = servers.bound(ANY)
    servers.remove(ANY, "/a")
    status = ask(servers, "/a")[0]
    servers.remove(ANY, "/b")
    servers.remove(ANY, "/b")

    assert 404 == status
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_thirty_two_scrapers_at_once_all_get_the_page(servers):
    """Each gets all of it."""
    servers.add(ANY, "/metrics", saying(LARGE[:1_000_000]))
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(servers), range(96)))

    assert {(200, 1_000_000)} == {(status, len(body)) for status, _, body in answers}


def clients_that_read_slowly(address):
    """More of them than the server has threads; none has read more than a byte."""
    for _ in range(8):
        client = socket.create_connection(address, timeout=10)
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1)
        yield client


def clients_that_leave(address):
    """Gone in the middle of the answer."""
    for client in clients_that_read_slowly(address):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset, not a polite end
        client.close()
        yield client


def clients_that_send_garbage(address):
    """What a TLS client, a fuzzer or a broken proxy sends."""
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\0" * 3000,
        b"GET\r\n\r\n",
        b"G / HTTP/9.9\r\n\r\n",
        b"\r\n" * 50,
    ):
        client = socket.create_connection(address, timeout=10)
        client.sendall(garbage)
        yield client


def clients_that_never_finish_their_header(address):
    """As "slowloris" does."""
    for _ in range(50):
        client = socket.create_connection(address, timeout=10)
        client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        yield client


@pytest.mark.parametrize(
    "disturb",
    [
        clients_that_read_slowly,
        clients_that_leave,
        clients_that_send_garbage,
        clients_that_never_finish_their_header,
    ],
)
def test_others_are_answered_at_once_beside(servers, disturb):
    """Clients that are slow, broken or gone hold no thread of the server."""
    servers.add(ANY, "/metrics", saying(b"fine"))
    servers.add(ANY, "/large", saying(LARGE))
    clients = list(disturb(servers.bound(ANY)))
    begin = time.monotonic()
    answers = [ask(servers) for _ in range(5)]
    elapsed = time.monotonic() - begin
    for client in clients:
        client.close()

    assert [(200, b"fine")] * 5 == [(status, body) for status, _, body in answers]
    assert elapsed < 2


def test_a_header_too_long_is_refused(servers):
    """431, and the connection is closed."""
    servers.add(ANY, "/metrics", saying(b"fine"))
    with socket.create_connection(servers.bound(ANY), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nX-Long: " + b"x" * 60_000)

        assert client.recv(100).startswith(b"HTTP/1.0 431 ")


def test_an_exchange_that_takes_too_long_is_ended():
    """A client that sends a byte now and then cannot hold its connection for ever."""
    received = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = Listener(sock, lambda environ, start: ())
        with socket.create_connection(listener.address, timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
            while not any(c.request for c in list(listener.server.active_channels.values())):
                received.wait(0.01)
            now = time.time()
            listener.server.maintenance(now)
            listener.server.maintenance(now + EXCHANGE_SECONDS / 2)
            [channel] = listener.server.active_channels.values()
            kept = not channel.will_close
            listener.server.maintenance(now + EXCHANGE_SECONDS)
            listener.server.pull_trigger()

            assert (True, b"") == (kept, client.recv(1))
        listener.close()


def test_shutdown_takes_less_than_a_second_with_clients_that_hang(servers):
    """Slow readers do not hold the process."""
    servers.add(ANY, "/large", saying(LARGE))
    clients = [
        *clients_that_read_slowly(servers.bound(ANY)),
        *clients_that_never_finish_their_header(servers.bound(ANY)),
    ]
    begin = time.monotonic()
    servers.shutdown()
    elapsed = time.monotonic() - begin
    for client in clients:
        client.close()

    assert elapsed < 1


def test_shutdown_lets_an_answer_under_way_finish(servers):
    """A scrape that came just before the end is not lost."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(request):
        asked.set()
        go_on.wait(5)
        return Response(b"finished")

    servers.add(ANY, "/metrics", slow)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(ask, servers)
        asked.wait(5)
        closing = pool.submit(servers.shutdown)
        go_on.set()
        closing.result(5)

        assert b"finished" == answer.result(5)[2]


def test_servers_can_be_started_again_after_shutdown(servers):
    """The paths stayed."""
    servers.add(ANY, "/metrics", saying(b"again"))
    servers.shutdown()
    servers.shutdown()
    servers.start()

    assert b"again" == ask(servers)[2]
