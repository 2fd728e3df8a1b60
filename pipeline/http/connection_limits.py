# SPDX-License-Identifier: Apache-2.0
"""Connection limits: how many there are, how long each may take, and which are closed first when all are in use."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .connection import Connection, Phase
from .pending_responses import STALLED_SECONDS
from .refusals import HttpRefusal


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of one server; times in seconds."""

    connections: int = 512
    """Open connections at a time. When all are in use, those without a request are closed first."""
    reserve: int = 16
    """Additional connections on which only health checks are answered."""
    request_seconds: float = 10.0
    """For a complete request to arrive."""
    idle_seconds: float = 75.0
    """For a kept-alive connection between two requests; longer than the usual scrape interval."""
    answer_seconds: float = 60.0
    """For the client to read a whole response."""

    young_seconds: float = 1.0
    """How long a new connection is safe when others need its place: its request may be on its way."""
    body_bytes: int = 64 << 20
    """Of all request bodies that are being received; a request for which no room is left is refused."""

    @property
    def most(self) -> int:
        """All connections, including reserved ones."""
        return self.connections + self.reserve

    def within_open_files(self) -> ConnectionLimits:
        """Fewer connections if the process may open only few files, because it needs files for other things, too."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return self
        return replace(
            self,
            connections=max(1, min(self.connections, soft // 2)),
            reserve=max(1, min(self.reserve, soft // 8)),
        )


def overdue(connection: Connection, now: float, limits: ConnectionLimits) -> HttpRefusal | None:
    """Why a connection has timed out, or None."""
    match connection.phase:
        case Phase.NEW | Phase.READING if now - connection.request_started >= limits.request_seconds:
            return HttpRefusal.REQUEST_TIMEOUT
        case Phase.WRITING if now - connection.answering >= limits.answer_seconds:
            return HttpRefusal.ANSWER_TIMEOUT
        case Phase.WAITING if not connection.at_work and connection.abandoned():
            return HttpRefusal.PEER_GONE
    return None


def idle(connection: Connection, now: float, limits: ConnectionLimits) -> bool:
    """Whether a kept-alive connection was unused for too long."""
    return connection.phase is Phase.IDLE and now - connection.moved >= limits.idle_seconds


def expendable(connections: Iterable[Connection], now: float, limits: ConnectionLimits) -> list[Connection]:
    """The connections that may be closed for others, in the order of closing.

    First those that have never sent a complete request, then idle ones, then those that do not read their response;
    within each group, the one in that state for the longest time first. Never those that wait for a response.
    """
    ranked = [(rank, each) for each in connections if (rank := _rank(each, now, limits))]
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]


def _rank(connection: Connection, now: float, limits: ConnectionLimits) -> tuple[int, float] | None:
    match connection.phase:
        case Phase.NEW:
            return (0, connection.opened) if now - connection.opened >= limits.young_seconds else None
        case Phase.IDLE | Phase.READING:
            return 1, connection.moved
        case Phase.WRITING:
            return (2, connection.moved) if now - connection.moved >= STALLED_SECONDS else None
        case Phase.WAITING:
            return None
