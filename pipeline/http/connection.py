# SPDX-License-Identifier: Apache-2.0
"""One client's connection: waitress' channel, extended with its phase, its age, and whether the client is still there.

Times are seconds of the server's monotonic clock.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
from collections.abc import Callable
from copy import copy
from enum import IntEnum
from functools import partial
from io import BytesIO
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask

from ebpf_sidecar.pipeline.host import BodyProblem

from .pending_responses import BODY_PROBLEM, CONNECTION
from .refusals import HttpRefusal

log = logging.getLogger(__name__)
ABANDONED_SECONDS = 1.0
"""A client that has stopped sending may still read (``socat``); once its request is this old, it counts as gone."""
_SEND_BYTES = 256 << 10
_UNBOUNDED = 1 << 62
_SMALL_BODY = 64 << 10  # such a body is never refused for lack of room
_LAST_DATA_RECEIVED = 52  # offset of tcpi_last_data_recv, in ms, in struct tcp_info of linux/tcp.h
_TOO_LARGE = (413, 431)


class Phase(IntEnum):
    """What a connection is doing."""

    NEW = 0
    """No complete request has arrived yet."""
    IDLE = 1
    """Kept alive between two requests."""
    READING = 2
    """A further request has arrived in part."""
    WAITING = 3
    """A request waits for its turn or is being answered."""
    WRITING = 4
    """The client has not read all of the response yet."""


class Parser(HTTPRequestParser):  # type: ignore[misc] # waitress ships no types
    """Waitress' parser; values that Python's own functions reject are bad requests as well."""

    adj: Any
    expect_continue: bool
    path = ""
    max_body: Callable[[str], int]
    """The most bytes of a body, by path; 0 for a route that takes none."""
    body_problem: BodyProblem | None = None

    def parse_header(self, header_plus: bytes) -> None:
        """Raises ParsingError, which results in status 400."""
        try:
            super().parse_header(header_plus)
        except ValueError as cause:  # urlsplit and int
            raise ParsingError("the request line or a header is invalid") from cause
        if most := self.max_body(self.path):
            self.adj = copy(self.adj)
            self.adj.max_request_body_size = most + 1  # waitress refuses from this size on

    def received(self, data: bytes) -> int:
        """Process received data; the route itself answers if the body is too large for it."""
        taken: int = super().received(data)
        if self.error and self.error.code in _TOO_LARGE and self.headers_finished and self.max_body(self.path):
            self.give_up(BodyProblem.TOO_LARGE)
        return taken

    def give_up(self, problem: BodyProblem) -> None:
        """Keep nothing of the body, but read it to its end: most clients look for an answer only then."""
        self.error, self.body_problem = None, problem
        if self.expect_continue:
            self.expect_continue, self.completed = False, True
            self.headers["CONNECTION"] = "close"
            return
        self.adj = copy(self.adj)
        self.adj.max_request_body_size = _UNBOUNDED
        self.body_rcv.buf = _Nowhere()
        self.completed = self.body_rcv.completed


class _Nowhere:
    """In place of a body's buffer: keeps nothing."""

    def append(self, data: bytes) -> None:
        """Called by waitress for each part."""

    def __len__(self) -> int:
        return 0

    def getfile(self) -> BytesIO:
        """No body."""
        return BytesIO()

    def close(self) -> None:
        """Nothing is open."""


def _parser(max_body: Callable[[str], int], adjustments: Any) -> Parser:
    parser = Parser(adjustments)
    parser.max_body = max_body
    return parser


class Task(WSGITask):  # type: ignore[misc] # waitress ships no types
    """Passes the connection to the application."""

    def get_environment(self) -> dict[str, Any]:
        """The environment of PEP 3333 with the connection in it."""
        environ: dict[str, Any] = super().get_environment()
        environ[CONNECTION] = self.channel
        environ[BODY_PROBLEM] = self.request.body_problem
        return environ


class Connection(HTTPChannel):  # type: ignore[misc] # waitress ships no types
    """A channel of a `Server`."""

    task_class = Task
    requests: list[Parser]

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:  # noqa: A002 # theirs
        self.opened = self.request_started = self.answering = self.moved = server.clock()
        self.served = self.at_work = False
        self.reserve = False
        """Whether it uses one of the connections reserved for health checks, because all others were in use."""
        super().__init__(server, sock, addr, adj, map=map)
        self.parser_class = partial(_parser, server.max_body)
        self.sendbuf_len = _SEND_BYTES  # copied for each send; the socket accepts no more at a time, see `Server`

    @property
    def phase(self) -> Phase:
        """What it is doing now."""
        if self.requests:
            return Phase.WAITING
        if self.total_outbufs_len:
            return Phase.WRITING
        if not self.served:
            return Phase.NEW
        return Phase.IDLE if self.request is None else Phase.READING

    def received(self, data: bytes) -> Any:
        """Process received data."""
        before = self.request
        taken = super().received(data)
        if self.request is not None and self.body_bytes > _SMALL_BODY and not self.server.body_has_room():
            self.request.give_up(BodyProblem.NO_ROOM)
        if self.request is not before:
            self.request_started = self.server.clock()
        return taken

    @property
    def body_bytes(self) -> int:
        """The bytes of the bodies of its requests that are in memory."""
        parts = [*self.requests, self.request]
        return sum(part.body_bytes_received for part in parts if part is not None and not part.body_problem)

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002 # theirs
        """Send as much as the socket accepts."""
        now = self.server.clock()  # before sending, because the client may react before the next line runs
        sent: int = super().send(data, do_close=do_close)
        if sent:
            self.moved = now
        return sent

    def service(self) -> None:
        """Answer one request in a worker thread, unless the client has gone."""
        if self.connected and self.abandoned():
            self.server.refuse(HttpRefusal.PEER_GONE)
            self._forget_requests()
            return
        request = self.requests[0]
        if request.body_problem:
            no_room = request.body_problem is BodyProblem.NO_ROOM
            self.server.refuse(HttpRefusal.BODIES_UNDER_WAY if no_room else HttpRefusal.TOO_LARGE)
        if request.error:
            self.server.refuse(HttpRefusal.TOO_LARGE if request.error.code in _TOO_LARGE else HttpRefusal.MALFORMED)
        if self.reserve:
            request.headers["CONNECTION"] = "close"
        self.served = self.at_work = True
        self.answering = self.moved = self.server.clock()
        super().service()
        self.at_work = False

    def abandoned(self) -> bool:
        """Whether the client has gone, as far as is visible without writing to it."""
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLRDHUP)
            state = sum(flags for _, flags in poll.poll(0))
            return bool(state & ~select.POLLRDHUP) or (bool(state) and self._age() >= ABANDONED_SECONDS)
        except (OSError, TypeError, ValueError):
            return True  # just closed by the other thread

    def _age(self) -> float:
        """Seconds since the client last sent something, even before the connection was accepted."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
        return float(struct.unpack_from("I", info, _LAST_DATA_RECEIVED)[0]) / 1000

    def _forget_requests(self) -> None:
        with self.requests_lock:
            self.close_when_flushed = True
            for request in self.requests:
                request.close()
            self.requests = []
        self.server.pull_trigger()

    def give_up(self) -> None:
        """Close it soon, from any thread, even if nothing can be written to it."""
        self.server.trigger.pull_trigger(self.handle_close)

    def handle_error(self) -> None:
        """Count any failure of the parser; waitress would log a line each time."""
        log.debug("closing a connection", exc_info=True)
        self.server.refuse(HttpRefusal.MALFORMED)
        self.handle_close()
