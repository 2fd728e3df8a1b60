# SPDX-License-Identifier: Apache-2.0
"""One waitress server on one socket, in threads of its own, with limits for slow, idle and broken clients.

Waitress reads requests and writes responses in one thread with poll(2), so a slow client holds a connection but no
worker. This module, `connection` and `connection_limits` add what it lacks: a time limit for each request, idle
connections that are closed when others need their place, a worker and connections reserved for health checks, and an
orderly shutdown.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from .connection import Connection, Phase
from .connection_limits import ConnectionLimits, expendable, idle, overdue
from .refusals import HttpRefusal

if TYPE_CHECKING:
    import ssl

THREADS = 4
_CHECK_SECONDS = 1.0
_WAKE_SECONDS = 0.25  # when all connections are in use, new ones are checked again after this
_GRACE_SECONDS = 0.4
_UNBOUNDED = 1 << 62
_UNSENT_BYTES = 128 << 10
_BUSY = (Phase.WAITING, Phase.WRITING)
_CLOSE_SHARE = 32  # close a share at once, so that not every new connection scans all of them

# Waitress warns about everyday client behavior, and any client could flood the log; see `RefusalCounter`
logging.getLogger("waitress").setLevel(logging.ERROR)

Wsgi = Callable[..., Any]
Clock = Callable[[], float]


class Listener:
    """Serves a WSGI application on a listening socket until closed.

    ``refuse`` is called with the reason for each request that is refused and each connection that is dropped. Requests
    for ``health_paths`` have a worker and connections of their own. ``max_body``: the most bytes of a request's body,
    by path. ``tls``: without it, connections are not encrypted.
    """

    def __init__(
        self,
        sock: socket.socket,
        application: Wsgi,
        *,
        refuse: Callable[[HttpRefusal], None] = lambda _reason: None,
        health_paths: Collection[str] = (),
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 # immutable
        clock: Clock = time.monotonic,
        max_body: Callable[[str], int] = lambda _path: 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.server = Server(
            sock, application, refuse=refuse, health_paths=health_paths, limits=limits.within_open_files(), clock=clock
        )
        self.server.max_body, self.server.tls = max_body, tls
        self.address: tuple[str, int] = sock.getsockname()[:2]
        self._thread = threading.Thread(target=self.server.run, name=f"http {self.address[1]}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop accepting, give pending responses a moment, then close every connection."""
        self.server.trigger.pull_trigger(self.server.stop_accepting)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self.server.busy() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.server.trigger.pull_trigger(self.server.drop_connections)
        self._thread.join(_GRACE_SECONDS)
        # last, and only if no worker is left that could write to it: its descriptor number may be reused soon
        if self.server.stop_workers(_GRACE_SECONDS / 2):
            self.server.trigger.close()


def _adjustments(sock: socket.socket, limits: ConnectionLimits) -> Adjustments:
    adjustments = Adjustments(
        sockets=[sock],
        threads=THREADS,
        connection_limit=limits.most,
        max_request_header_size=32 * 1024,
        max_request_body_size=1024,  # for routes without a body: small ones are ignored, others get 413
        inbuf_overflow=_UNBOUNDED,  # a file would need a writable /tmp; `body_has_room` is the bound
        outbuf_overflow=_UNBOUNDED,  # a file would need a writable /tmp; pages are passed without a copy
        outbuf_high_watermark=_UNBOUNDED,  # otherwise the second of two pipelined requests blocks a worker
        asyncore_use_poll=True,  # select(2) cannot handle descriptors above 1023
        log_socket_errors=False,  # clients may disconnect at any time
        ident="",
    )
    adjustments.asyncore_loop_timeout = _WAKE_SECONDS  # as an argument it would have to be an integer
    return adjustments


class Server(TcpWSGIServer):  # type: ignore[misc] # waitress ships no types
    """A waitress server that closes connections by `connection_limits` instead of by its own rules."""

    def __init__(
        self,
        sock: socket.socket,
        application: Wsgi,
        *,
        refuse: Callable[[HttpRefusal], None],
        health_paths: Collection[str],
        limits: ConnectionLimits,
        clock: Clock,
    ) -> None:
        self.refuse, self.clock = refuse, clock
        self.max_body: Callable[[str], int] = lambda _path: 0
        self.tls: ssl.SSLContext | None = None
        self._health_paths, self._limits, self._next_check = health_paths, limits, 0.0
        self._health_workers = ThreadedTaskDispatcher()
        self._health_workers.set_thread_count(1)
        info = (sock.family, sock.type, sock.proto, sock.getsockname())
        super().__init__(
            application,
            {},
            True,  # noqa: FBT003 # waitress' own signature
            sock,
            adj=_adjustments(sock, limits),
            sockinfo=info,
            bind_socket=False,
        )

    @property
    def channel_class(self) -> type[Connection]:
        """The class of new connections."""
        if self.tls is None:
            return Connection
        from .tls_connection import TlsConnection  # noqa: PLC0415 # imports ssl

        return TlsConnection

    def set_socket_options(self, conn: socket.socket) -> None:
        """Called by waitress for each connection."""
        super().set_socket_options(conn)
        # unread data also fills kernel buffers, up to 4 MB per client without this
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)

    def accept(self) -> tuple[socket.socket, Any] | None:
        """The next connection, encrypted if there is ``tls``; the handshake follows with the first reads."""
        accepted: tuple[socket.socket, Any] | None = super().accept()
        if accepted is None or self.tls is None:
            return accepted
        try:
            return self.tls.wrap_socket(accepted[0], server_side=True, do_handshake_on_connect=False), accepted[1]
        except OSError:  # the client has gone already
            accepted[0].close()
            raise

    def body_has_room(self) -> bool:
        """Whether all bodies that are being received fit into memory."""
        bodies = (each.body_bytes for each in list(self.active_channels.values()))
        return bool(sum(bodies) <= self._limits.body_bytes)

    def add_task(self, task: Connection) -> None:
        """Queue a request: health checks and refusals go to a worker that never renders pages."""
        task.reserve = self._in_reserve()
        is_health_check = task.reserve or task.requests[0].path in self._health_paths
        (self._health_workers if is_health_check else self.task_dispatcher).add_task(task)

    def readable(self) -> bool:
        """Called by waitress before each poll(2): whether to accept connections."""
        now = self.clock()
        if now >= self._next_check:
            self._next_check = now + _CHECK_SECONDS
            self.tidy(now)
        if not self.accepting:
            return False
        return len(self.active_channels) < self._limits.most or bool(
            expendable(self.active_channels.values(), now, self._limits)
        )

    def handle_accept(self) -> None:
        """Accept a connection; if all are in use, close expendable ones first."""
        if len(self.active_channels) >= self._limits.connections:
            needed = max(1, self._limits.connections // _CLOSE_SHARE)
            given_up = expendable(self.active_channels.values(), self.clock(), self._limits)
            for connection in given_up[:needed]:
                self._close(connection, HttpRefusal.MADE_ROOM)
        super().handle_accept()

    def _in_reserve(self) -> bool:
        """Whether so many connections are busy that none can be closed for a new one."""
        connections = list(self.active_channels.values())
        most = self._limits.connections
        return len(connections) > most and sum(each.phase in _BUSY for each in connections) > most

    def tidy(self, now: float) -> None:
        """Close connections that have timed out."""
        for connection in list(self.active_channels.values()):
            if reason := overdue(connection, now, self._limits):
                self._close(connection, reason)
            elif idle(connection, now, self._limits):
                connection.handle_close()

    def _close(self, connection: Connection, reason: HttpRefusal) -> None:
        """Close immediately: waitress' own flag waits until something can be written, which may be never."""
        self.refuse(reason)
        connection.handle_close()

    def busy(self) -> bool:
        """Whether a response is pending."""
        return any(each.phase in _BUSY for each in list(self.active_channels.values()))

    def stop_accepting(self) -> None:
        """Close the listening socket; the port is free at once."""
        wasyncore.dispatcher.close(self)

    def drop_connections(self) -> None:
        """Close every connection and end the loop; the trigger stays open for threads about to pull it."""
        for channel in list(self.active_channels.values()):
            channel.handle_close()
        self.trigger.del_channel()

    def stop_workers(self, seconds: float) -> bool:
        """Stop the workers; False if one is still busy after ``seconds``."""
        for workers in (self._health_workers, self.task_dispatcher):
            workers.shutdown(timeout=seconds)
        return not self._health_workers.threads and not self.task_dispatcher.threads
