# SPDX-License-Identifier: Apache-2.0
"""One waitress server on one socket, in threads of its own, with bounds for slow and broken clients.

Waitress reads requests and writes answers in one thread with poll(2), so that a slow client holds a connection but no
worker. What it lacks, and what is added here: a bound on the time that one exchange may take, and an orderly end.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

THREADS = 4
CONNECTIONS = 512
"""Open connections at a time; further ones wait in the kernel's backlog."""
IDLE_SECONDS = 75
"""A kept-alive connection without a request is closed after this; longer than the usual scrape interval."""
EXCHANGE_SECONDS = 60
"""A request that has not come in, or an answer that was not taken, after this: the connection is closed."""
_CHECK_SECONDS = 5
_GRACE_SECONDS = 0.4
_NEVER_SPILL = 1 << 30  # a file for large answers would need a writable /tmp; pages are handed over without a copy

# "task queue depth" is a warning for web sites; scrapers that come together are answered one after the other
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

Wsgi = Callable[..., Any]


class Listener:
    """Serves a WSGI application on a listening socket until closed."""

    def __init__(self, sock: socket.socket, application: Wsgi) -> None:
        self.server = _Server(
            application,
            {},
            True,  # noqa: FBT003 # waitress' own signature
            sock,
            adj=_adjustments(sock),
            sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
            bind_socket=False,
        )
        self.address: tuple[str, int] = sock.getsockname()[:2]
        self._thread = threading.Thread(target=self.server.run, name=f"http {self.address[1]}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more, give answers under way a moment, then close every connection."""
        self.server.trigger.pull_trigger(self.server.stop_accepting)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self.server.busy() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.server.trigger.pull_trigger(self.server.drop_connections)
        self._thread.join(_GRACE_SECONDS)
        self.server.task_dispatcher.shutdown(timeout=_GRACE_SECONDS / 2)
        # last, and only when no worker is left that could still write into it: its number may be another file's soon
        if not self.server.task_dispatcher.threads:
            self.server.trigger.close()


def _adjustments(sock: socket.socket) -> Adjustments:
    return Adjustments(
        sockets=[sock],
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=_CHECK_SECONDS,
        max_request_header_size=32 * 1024,
        max_request_body_size=1024,  # nothing here takes a body: what is small is ignored, what is not gets 413
        outbuf_overflow=_NEVER_SPILL,
        asyncore_use_poll=True,  # select(2) cannot handle descriptors above 1023
        log_socket_errors=False,  # clients may go away at any time
        ident="",
    )


class _Server(TcpWSGIServer):  # type: ignore[misc] # waitress ships no types
    """A waitress server that also bounds the duration of an exchange."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._pending: dict[Any, tuple[Any, float]] = {}
        super().__init__(*args, **kwargs)

    def maintenance(self, now: float) -> None:
        """Called by waitress every few seconds: close what is idle or takes too long."""
        super().maintenance(now)
        previous, self._pending = self._pending, {}
        for channel in list(self.active_channels.values()):
            exchange = channel.request or (channel.total_outbufs_len and channel.outbufs[0])
            if not exchange:
                continue
            seen, since = previous.get(channel, (None, now))
            self._pending[channel] = (exchange, since if seen is exchange else now)
            if now - self._pending[channel][1] >= EXCHANGE_SECONDS:
                channel.will_close = True

    def busy(self) -> bool:
        """Whether an answer is under way."""
        return any(channel.requests or channel.total_outbufs_len for channel in list(self.active_channels.values()))

    def stop_accepting(self) -> None:
        """Close the listening socket; the port is free at once."""
        wasyncore.dispatcher.close(self)

    def drop_connections(self) -> None:
        """Close every connection and let the loop end; the trigger stays open for whoever is about to pull it."""
        for channel in list(self.active_channels.values()):
            channel.handle_close()
        self.trigger.del_channel()
