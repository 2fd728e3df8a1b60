# SPDX-License-Identifier: Apache-2.0
"""Many slow, broken and hostile clients: the others are answered, and the shutdown is in time."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_requests import ANY, LARGE, answering, fetch

from ebpf_sidecar.pipeline.host import Response


def test_thirty_two_scrapers_at_once_all_get_the_page(servers):
    """Each gets all of it."""
    servers.add(ANY, "/metrics", answering(LARGE[:1_000_000]))
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: fetch(servers), range(96)))

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
    """Slow, broken and disconnected clients block no thread of the server."""
    servers.add(ANY, "/metrics", answering(b"fine"))
    servers.add(ANY, "/large", answering(LARGE))
    clients = list(disturb(servers.bound(ANY)))
    begin = time.monotonic()
    answers = [fetch(servers) for _ in range(5)]
    elapsed = time.monotonic() - begin
    for client in clients:
        client.close()

    assert [(200, b"fine")] * 5 == [(status, body) for status, _, body in answers]
    assert elapsed < 2


def test_a_header_too_long_is_refused(servers):
    """431, and the connection is closed."""
    servers.add(ANY, "/metrics", answering(b"fine"))
    with socket.create_connection(servers.bound(ANY), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nX-Long: " + b"x" * 60_000)

        assert client.recv(100).startswith(b"HTTP/1.0 431 ")


def test_shutdown_takes_less_than_a_second_with_clients_that_hang(servers):
    """Slow readers do not hold the process."""
    servers.add(ANY, "/large", answering(LARGE))
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
    """A scrape just before the shutdown is not lost."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(request):
        asked.set()
        go_on.wait(5)
        return Response(b"finished")

    servers.add(ANY, "/metrics", slow)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(fetch, servers)
        asked.wait(5)
        closing = pool.submit(servers.shutdown)
        go_on.set()
        closing.result(5)

        assert b"finished" == answer.result(5)[2]
