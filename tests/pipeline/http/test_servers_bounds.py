# SPDX-License-Identifier: Apache-2.0
"""What a server drops when clients occupy its connections, its workers or its memory."""

import http.client
import io
import resource
import socket
import threading
import time
from contextlib import ExitStack, closing
from itertools import count

import pytest
from http_requests import ANY, LARGE, answering, fetch

from ebpf_sidecar.pipeline.host import Response
from ebpf_sidecar.pipeline.http.connection import Phase
from ebpf_sidecar.pipeline.http.connection_limits import ConnectionLimits
from ebpf_sidecar.pipeline.http.listener import THREADS, Listener
from ebpf_sidecar.pipeline.http.pending_responses import PendingResponses
from ebpf_sidecar.pipeline.http.refusals import HttpRefusal
from ebpf_sidecar.pipeline.http.servers import HttpServers

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
FINE = answering(b"fine")
RESET = b"\1\0\0\0\0\0\0\0"


@pytest.fixture
def serving():
    """Starts servers with limits of their own, which answer /metrics, /large and /health."""
    with ExitStack() as stack:

        def start(metrics=FINE, **parts):
            servers = HttpServers(health_paths=["/health"], **parts)
            stack.callback(servers.shutdown)
            for path, handler in {"/metrics": metrics, "/large": answering(LARGE), "/health": answering(b"ok")}.items():
                servers.add(ANY, path, handler)
            servers.start()
            return servers

        yield start


@pytest.fixture
def clients():
    """Connects; everything is closed at the end."""
    with ExitStack() as stack:

        def connect(address, request=b""):
            client = socket.socket()
            stack.callback(client.close)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(10)
            client.connect(address)
            client.sendall(request)
            return client

        yield connect


def until(happened):
    """Wait for it, but not for ever."""
    deadline = time.monotonic() + 10
    while not (seen := happened()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen


def scrape(client):
    """The answer as a whole; the connection stays."""
    client.sendall(GET % b"/metrics")
    answer = b""
    while not answer.endswith(b"fine"):
        answer += client.recv(1000) or pytest.fail(f"closed after {answer!r}")
    return answer


class Gate:
    """A handler that blocks until it is opened."""

    def __init__(self):
        self.seen, self.opened = 0, threading.Event()

    def __call__(self, request):
        self.seen += 1
        self.opened.wait(10)
        return Response(b"late")


def test_clients_that_never_read_cannot_multiply_the_page(serving, clients):
    """Each second page is another; what is beyond the bound gets 503, and probes are answered."""
    answers = PendingResponses(4_000_000, clock=lambda: 0.0)  # no client is ever stalled, so none is given up
    servers = serving(lambda request: Response(bytes(1_500_000)), pending=answers)
    for number in range(1, 3):
        clients(servers.bound(ANY), GET % b"/metrics")
        until(lambda number=number: answers.bytes_held >= 1_500_000 * number)
    status, headers, body = fetch(servers)

    assert (503, "5") == (status, headers["Retry-After"])
    assert b"slow clients hold too many unread responses; try again later\n" == body
    assert 200 == fetch(servers, "/health")[0]
    assert until(lambda: answers.bytes_held == 3_000_000)
    assert 1 == servers.refused(ANY, HttpRefusal.BYTES_UNDER_WAY)


def test_a_recent_page_is_shared_where_no_other_fits(serving, clients):
    """By clients for whom it is the same: never across different queries, users or relevant headers."""
    answers, made = PendingResponses(4_000_000, clock=lambda: 0.0), count(1)

    def handler(request):
        return Response(bytes([next(made)]) * 1_500_000, headers={"Vary": "Accept-Encoding, X-Tenant"})

    servers = serving(handler, pending=answers)
    for number in range(1, 3):
        clients(servers.bound(ANY), GET % b"/metrics")
        until(lambda number=number: answers.bytes_held >= 1_500_000 * number)
    status, headers, body = fetch(servers)
    others = [
        fetch(servers, "/metrics?a=1")[0],
        fetch(servers, headers={"X-Tenant": "other"})[0],
        fetch(servers, headers={"Authorization": "Basic x"})[0],
    ]

    assert (200, "1500000", {2}) == (status, headers["Content-Length"], set(body))
    assert [503, 503, 503] == others


def test_stalled_clients_make_room_for_those_who_read(serving, clients):
    """Memory is freed at once, although nothing can be written to them."""
    now = [0.0]
    answers = PendingResponses(4_000_000, clock=lambda: now[0])
    servers = serving(lambda request: Response(bytes(1_500_000)), pending=answers)
    for number in range(1, 3):
        clients(servers.bound(ANY), GET % b"/metrics")
        until(lambda number=number: answers.bytes_held >= 1_500_000 * number)
    now[0] = 1.0
    status, _, body = fetch(servers)

    assert (200, 1_500_000) == (status, len(body))
    assert until(lambda: answers.bytes_held == 1_500_000)


def test_what_was_sent_is_released(serving):
    """Also where the connection stays."""
    answers = PendingResponses()
    servers = serving(pending=answers)
    with closing(http.client.HTTPConnection(*servers.bound(ANY), timeout=10)) as connection:
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, "/large")
            connection.getresponse().read()

        assert until(lambda: answers.bytes_held == 0)


def test_pipelined_requests_of_clients_that_do_not_read_hold_no_worker(serving, clients):
    """More such clients than workers."""
    servers = serving()
    for _ in range(2 * THREADS):
        clients(servers.bound(ANY), GET % b"/large" * 3)

    assert b"fine" == fetch(servers)[2]


def test_the_connection_idle_for_the_longest_time_goes_first(clients):
    """When all are in use and another client comes; the others stay."""
    refused = []

    def application(environ, start):
        start("200 OK", [("Content-Length", "4")])
        return [b"fine"]

    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = Listener(sock, application, refuse=refused.append, limits=ConnectionLimits(connections=3, reserve=1))
        first, second, third = (clients(listener.address) for _ in range(3))
        for client in (second, first, third, second):
            scrape(client)
        idle = until(lambda: {each.phase for each in [*listener.server.active_channels.values()]} == {Phase.IDLE})
        fourth = scrape(clients(listener.address))
        gone, alive = first.recv(1), scrape(second)
        listener.close()

    assert idle
    assert b"" == gone
    assert fourth.endswith(b"fine")
    assert alive.endswith(b"fine")
    assert [HttpRefusal.MADE_ROOM] == refused


def test_clients_that_drip_cannot_take_the_port_away(serving, clients):
    """More of them than places; those who send a request are answered."""
    servers = serving(limits=ConnectionLimits(connections=20, reserve=2, young_seconds=0.1))
    for _ in range(60):
        clients(servers.bound(ANY), b"GET /metrics HT")
    answers = [fetch(servers, path) for path in ("/health", "/metrics", "/health")]

    assert [b"ok", b"fine", b"ok"] == [body for _, _, body in answers]


def test_a_place_and_a_worker_are_kept_for_probes(serving, clients):
    """All workers and all places are in use by clients that wait for an answer."""
    gate = Gate()
    servers = serving(gate, limits=ConnectionLimits(connections=THREADS + 2, reserve=1))
    waiting = [clients(servers.bound(ANY), GET % b"/metrics") for _ in range(THREADS + 2)]
    until(lambda: gate.seen == THREADS)
    refused, probe = fetch(servers), fetch(servers, "/health")
    gate.opened.set()

    assert (503, "5", "close") == (refused[0], refused[1]["Retry-After"], refused[1]["Connection"])
    assert (200, b"ok") == (probe[0], probe[2])
    assert all(client.recv(1000).startswith(b"HTTP/1.1 200 ") for client in waiting)
    assert 1 == servers.refused(ANY, HttpRefusal.CONNECTION_LIMIT)


def test_requests_of_clients_that_went_away_are_skipped(serving, clients):
    """Whether they ended in order or by a reset; a client that only sends no more is answered."""
    gate = Gate()
    servers = serving(gate)
    waiting = [clients(servers.bound(ANY), GET % b"/metrics") for _ in range(THREADS)]
    until(lambda: gate.seen == THREADS)
    for _ in range(5):
        clients(servers.bound(ANY), GET % b"/metrics").close()
        reset = clients(servers.bound(ANY), GET % b"/metrics")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        reset.close()
    time.sleep(1.1)
    half_closed = clients(servers.bound(ANY), GET % b"/metrics")
    half_closed.shutdown(socket.SHUT_WR)
    gate.opened.set()

    assert half_closed.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert all(client.recv(1000).startswith(b"HTTP/1.1 200 ") for client in waiting)
    assert THREADS + 1 == gate.seen
    assert servers.refused(ANY, HttpRefusal.PEER_GONE) >= 5


def test_a_client_that_sends_no_more_gets_an_answer_that_takes_long(serving, clients):
    """It was served in time; that the page takes a while to make is not its fault."""
    gate = Gate()
    servers = serving(gate)
    client = clients(servers.bound(ANY), GET % b"/metrics")
    client.shutdown(socket.SHUT_WR)
    until(lambda: gate.seen)
    time.sleep(2.2)  # the server looks for abandoned requests every second
    gate.opened.set()

    assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def tidied(listener, now):
    """How many connections are left after the server looked for those that have had their time."""
    done = threading.Event()
    listener.server.trigger.pull_trigger(lambda: (listener.server.tidy(now), done.set()))
    done.wait(10)
    return len(listener.server.active_channels)


@pytest.mark.parametrize(
    ("request_", "phase", "seconds", "reason"),
    [
        (b"", Phase.NEW, 10, HttpRefusal.REQUEST_TIMEOUT),
        (b"GET / HTTP/1.1\r\nX: ", Phase.NEW, 10, HttpRefusal.REQUEST_TIMEOUT),
        (b"\r\n\r\n", Phase.NEW, 10, HttpRefusal.REQUEST_TIMEOUT),
        (GET % b"/" + b"GET", Phase.READING, 10, HttpRefusal.REQUEST_TIMEOUT),
        (GET % b"/large", Phase.WRITING, 60, HttpRefusal.ANSWER_TIMEOUT),
        (GET % b"/", Phase.IDLE, 75, None),
    ],
)
def test_what_takes_too_long_is_ended(clients, request_, phase, seconds, reason):
    """Clients that send nothing, send slowly, do not read, or do not return; each only after its timeout."""
    refused = []

    def application(environ, start):
        start("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(LARGE if environ["PATH_INFO"] == "/large" else b"x"))

    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = Listener(sock, application, refuse=refused.append, clock=lambda: 0.0)
        client = clients(listener.address, request_)
        seen = until(lambda: [each.phase for each in [*listener.server.active_channels.values()]] == [phase])
        before, after = tidied(listener, seconds - 0.1), tidied(listener, seconds)
        client.close()
        listener.close()

    assert (True, 1, 0) == (seen, before, after)
    assert ([reason] if reason else []) == refused


def test_few_open_files_mean_few_connections():
    """So that the process keeps some for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        limits = ConnectionLimits().within_open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert (32, 8) == (limits.connections, limits.reserve)
