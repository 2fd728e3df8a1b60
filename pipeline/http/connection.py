# SPDX-License-Identifier: Apache-2.0
"""One client's connection: waitress' channel, extended with its phase, its age, and whether the client is still there.

Times are seconds of the server's monotonic clock.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
from enum import IntEnum
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask

from .pending_responses import CONNECTION
from .refusals import HttpRefusal

log = logging.getLogger(__name__)
ABANDONED_SECONDS = 1.0
"""A client that has stopped sending may still read (``socat``); once its request is this old, it counts as gone."""
_SEND_BYTES = 256 << 10
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

    path = ""

    def parse_header(self, header_plus: bytes) -> None:
        """Raises ParsingError, which results in status 400."""
        try:
            super().parse_header(header_plus)
        except ValueError as cause:  # urlsplit and int
            raise ParsingError("the request line or a header is invalid") from cause


class Task(WSGITask):  # type: ignore[misc] # waitress ships no types
    """Passes the connection to the application."""

    def get_environment(self) -> dict[str, Any]:
        """The environment of PEP 3333 with the connection in it."""
        environ: dict[str, Any] = super().get_environment()
        environ[CONNECTION] = self.channel
        return environ


class Connection(HTTPChannel):  # type: ignore[misc] # waitress ships no types
    """A channel of a `Server`."""

    parser_class = Parser
    task_class = Task
    requests: list[Parser]

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:  # noqa: A002 # theirs
        self.opened = self.request_started = self.answering = self.moved = server.clock()
        self.served = self.at_work = False
        self.reserve = False
        """Whether it uses one of the connections reserved for health checks, because all others were in use."""
        super().__init__(server, sock, addr, adj, map=map)
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
        if self.request is not before:
            self.request_started = self.server.clock()
        return taken

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
