# SPDX-License-Identifier: Apache-2.0
"""Routes that take bodies: only by POST, up to their own limit, and never more in memory than there is room for."""

import gzip
import http.client
import socket
import time
from contextlib import ExitStack, closing

import pytest
from http_requests import ANY, answering, fetch
from waiting import until

from ebpf_sidecar.pipeline.host import BodyProblem, Response
from ebpf_sidecar.pipeline.http.connection_limits import ConnectionLimits
from ebpf_sidecar.pipeline.http.refusals import HttpRefusal
from ebpf_sidecar.pipeline.http.servers import HttpServers

MOST = 1_000_000
POST = b"POST /in HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def receiving():
    """Starts servers with limits of their own, which take bodies at /in; and the requests that they have got."""
    with ExitStack() as stack:

        def start(**limits):
            servers, got = HttpServers(limits=ConnectionLimits(**limits)), []
            stack.callback(servers.shutdown)
            servers.add(ANY, "/in", lambda request: got.append(request) or Response(b"taken"), max_body=MOST)
            servers.add(ANY, "/metrics", answering(b"m"))
            servers.start()
            return servers, got

        yield start


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 100_000, MOST])
def test_a_body_arrives_whole(receiving, size):
    """Up to the limit, and with its type."""
    servers, got = receiving()
    body = bytes(range(256)) * (size // 256 + 1)
    answer = fetch(servers, "/in", "POST", body[:size], headers={"Content-Type": "text/x"})

    assert (200, b"taken") == (answer[0], answer[2])
    assert [(body[:size], "text/x", None)] == [
        (request.body, request.headers["content-type"], request.body_problem) for request in got
    ]


def test_a_body_in_chunks_arrives_whole(receiving):
    """Transfer-Encoding: chunked."""
    servers, got = receiving()
    parts = [b"a" * 70_000, b"b", b"c" * 30_000]
    answer = fetch(servers, "/in", "POST", iter(parts))

    assert (200, [b"".join(parts)]) == (answer[0], [request.body for request in got])


def test_a_client_that_asks_first_is_told_to_go_on(receiving):
    """Expect: 100-continue, as curl sends for large bodies."""
    servers, got = receiving()
    with closing(socket.create_connection(servers.bound(ANY), timeout=10)) as client:
        client.sendall(POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"body")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")

    assert [b"body"] == [request.body for request in got]


def test_a_route_that_takes_bodies_takes_nothing_else(receiving):
    """And other routes take no bodies."""
    servers, got = receiving()
    answers = [fetch(servers, "/in"), fetch(servers, "/metrics", "POST", b"x")]

    assert [(405, "POST"), (405, "GET, HEAD")] == [(status, headers["Allow"]) for status, headers, _ in answers]
    assert [] == got


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (MOST + 1)


@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n\r\n" % (MOST + 1), CHUNKED], ids=["whole", "chunked"])
def test_the_route_itself_answers_for_a_body_that_is_too_large(receiving, head):
    """Which it does not get. The client is answered when it has sent all of it, since many look for nothing before."""
    servers, got = receiving()
    with closing(socket.create_connection(servers.bound(ANY), timeout=10)) as client:
        for _ in range(2):
            client.sendall(POST + head + b"x" * (MOST + 1) + b"\r\n0\r\n\r\n" * (head is CHUNKED))
            answer = b""
            while not answer.endswith(b"taken"):
                answer += client.recv(1000)

    assert [(b"", BodyProblem.TOO_LARGE)] * 2 == [(request.body, request.body_problem) for request in got]
    assert 2 == servers.refused(ANY, HttpRefusal.TOO_LARGE)


def test_a_client_that_asks_before_it_sends_too_much_is_answered_at_once(receiving):
    """Without being told to go on."""
    servers, got = receiving()
    with closing(socket.create_connection(servers.bound(ANY), timeout=10)) as client:
        client.sendall(POST + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (MOST + 1))
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")

    assert [BodyProblem.TOO_LARGE] == [request.body_problem for request in got]


def test_bodies_that_do_not_fit_into_memory_together_are_refused(receiving):
    """The one that arrives when it is full; the others continue."""
    servers, got = receiving(body_bytes=1_500_000)
    address = servers.bound(ANY)
    head = POST + b"Content-Length: 900000\r\n\r\n"
    with ExitStack() as stack:
        first, late = (stack.enter_context(socket.create_connection(address, 10)) for _ in range(2))
        first.sendall(head + b"x" * 890_000)
        time.sleep(0.2)
        late.sendall(head + b"x" * 900_000)
        assert late.recv(100).startswith(b"HTTP/1.1 200 ")
        first.sendall(b"x" * 10_000)
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")

    assert [(0, BodyProblem.NO_ROOM), (900_000, None)] == [(len(request.body), request.body_problem) for request in got]
    assert 1 == servers.refused(ANY, HttpRefusal.BODIES_UNDER_WAY)
    assert 200 == fetch(servers, "/in", "POST", b"x" * 900_000)[0]


def test_a_client_that_sends_a_byte_now_and_then_is_dropped(receiving):
    """After the time that a whole request may take; others are answered meanwhile."""
    servers, got = receiving(request_seconds=0.5)
    with closing(socket.create_connection(servers.bound(ANY), timeout=10)) as slow:
        slow.sendall(POST + b"Content-Length: 900000\r\n\r\n")

        def dropped():
            try:
                slow.sendall(b"x")
            except OSError:
                return True
            return servers.refused(ANY, HttpRefusal.REQUEST_TIMEOUT)

        assert 200 == fetch(servers, "/in", "POST", b"quick")[0]
        assert until(dropped, 10)

    assert [b"quick"] == [request.body for request in got]


def test_half_a_body_is_no_request(receiving):
    """A client that goes away in the middle."""
    servers, got = receiving()
    with closing(socket.create_connection(servers.bound(ANY), timeout=10)) as client:
        client.sendall(POST + b"Content-Length: 10\r\n\r\nhalf")

    assert 200 == fetch(servers, "/in", "POST", b"whole")[0]
    assert [b"whole"] == [request.body for request in got]


def test_several_requests_follow_each_other_on_one_connection(receiving):
    """Kept alive."""
    servers, got = receiving()
    connection = http.client.HTTPConnection(*servers.bound(ANY), timeout=10)
    for body in (b"one", gzip.compress(b"two"), b""):
        connection.request("POST", "/in", body)
        assert b"taken" == connection.getresponse().read()
    connection.close()

    assert [b"one", gzip.compress(b"two"), b""] == [request.body for request in got]
