# SPDX-License-Identifier: Apache-2.0
"""Pending HTTP responses: the memory that their bodies use in total, and which are dropped when it is too much.

Clients that do not read keep their page in memory. Responses with the same page share one copy, and the total size of
all copies is bounded.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

MAX_PENDING_BYTES = 64 << 20
"""The memory limit of unread responses, or two pages if pages are larger than half of it."""
SMALL_BYTES = 16 << 10
"""A response of at most this size (``/health``) is never refused."""
STALLED_SECONDS = 1.0
"""If memory is needed, a response is dropped when the client has read nothing for this long."""
MAX_RESPONSE_SECONDS = 10.0
"""If memory is needed, a response is dropped when it is this old; Prometheus' default timeout."""
MAX_SHARED_AGE_SECONDS = 5.0
"""If another copy of a page does not fit, an earlier one of at most this age is sent instead."""
_ROOM_SECONDS = 0.5

CONNECTION = "ebpf_sidecar.connection"
"""The key under which a request's environment (PEP 3333) holds its `Client`."""
BODY_PROBLEM = "ebpf_sidecar.body_problem"
"""The key under which it says why the request's body was not read."""

Clock = Callable[[], float]


class Client(Protocol):
    """The connection of a request."""

    reserve: bool
    """Whether it uses one of the connections reserved for health checks, because all others were in use."""

    def give_up(self) -> None:
        """Close it soon, from any thread."""


class ResponseBody(io.BytesIO):
    """A body that one client is reading: a view of bytes shared by all readers of the same page, until closed."""

    def __init__(
        self, body: bytes, give_up: Callable[[], None], clock: Clock, done: Callable[[ResponseBody], None]
    ) -> None:
        super().__init__(body)  # CPython shares immutable bytes until the first write, and nothing writes
        self.give_up = give_up
        self.key, self.size = id(body), len(body)
        self._body = body  # keeps its id from being reused
        self.began = self.moved = clock()
        self._clock, self._done = clock, done

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Also records progress: the server seeks forward when the client has read something."""
        if whence == io.SEEK_CUR and offset:
            self.moved = self._clock()
        return super().seek(offset, whence)

    def close(self) -> None:
        """Release the body; safe to call twice."""
        if self.closed:
            return
        self._done(self)
        super().close()
        self._body = b""
        self.give_up = _nothing  # breaks the cycle with the connection, so that memory is freed at once

    def stalled(self, now: float) -> bool:
        """Whether the client is too slow to keep when others need the memory."""
        return now - self.moved >= STALLED_SECONDS or now - self.began >= MAX_RESPONSE_SECONDS


def _nothing() -> None:
    pass


@dataclass
class _Copy:
    """One body and its readers."""

    body: bytes
    kind: Hashable
    made: float
    readers: list[ResponseBody] = field(default_factory=list)

    @property
    def large(self) -> bool:
        return len(self.body) > SMALL_BYTES


class PendingResponses:
    """All pending responses of the process; thread-safe."""

    def __init__(self, most: int = MAX_PENDING_BYTES, clock: Clock = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._changed = threading.Condition()
        self._copies: dict[int, _Copy] = {}

    def begin(self, body: bytes, give_up: Callable[[], None], kind: Hashable = None) -> ResponseBody | None:
        """``body`` for one client. If there is no room for another copy: an earlier body of the same ``kind`` (not
        None), at most `MAX_SHARED_AGE_SECONDS` old, or None if there is none.

        ``give_up`` closes the client's connection, soon and from any thread, when others need the memory.
        """
        stalled = self._stalled_responses(body)
        for answer in stalled:  # outside the lock, which closing takes as well
            answer.give_up()
        with self._changed:
            if stalled:
                self._changed.wait_for(lambda: self._fits(body), _ROOM_SECONDS)
            if self._fits(body):
                copy = self._copies.setdefault(id(body), _Copy(body, kind, self._clock()))
            elif (earlier := self._earlier(kind)) is not None:
                copy = earlier
            else:
                return None
            copy.readers.append(ResponseBody(copy.body, give_up, self._clock, self._end))
            return copy.readers[-1]

    @property
    def bytes_held(self) -> int:
        """The bytes of all pending bodies, each copy counted once."""
        with self._changed:
            return _size(self._copies.values())

    def _end(self, answer: ResponseBody) -> None:
        with self._changed:
            copy = self._copies.get(answer.key)
            if copy is not None and answer in copy.readers:
                copy.readers.remove(answer)
                if not copy.readers:
                    del self._copies[answer.key]
            self._changed.notify_all()

    def _large(self) -> list[_Copy]:
        """Oldest first, because a dict preserves insertion order."""
        return [copy for copy in self._copies.values() if copy.large]

    def _fits(self, body: bytes) -> bool:
        if len(body) <= SMALL_BYTES or id(body) in self._copies:
            return True
        large = self._large()
        return len(large) < 2 or _size(large) + len(body) <= self._most

    def _earlier(self, kind: Hashable) -> _Copy | None:
        oldest = self._clock() - MAX_SHARED_AGE_SECONDS
        alike = [copy for copy in self._large() if copy.kind == kind is not None and copy.made >= oldest]
        return alike[-1] if alike else None

    def _stalled_responses(self, body: bytes) -> list[ResponseBody]:
        """The responses to drop for ``body``: those of copies that only stalled clients read, oldest first."""
        with self._changed:
            if self._fits(body):
                return []
            now, given_up = self._clock(), list[ResponseBody]()
            needed = _size(self._large()) + len(body) - self._most
            for copy in self._large():
                if needed > 0 and all(answer.stalled(now) for answer in copy.readers):
                    needed -= len(copy.body)
                    given_up += copy.readers
            return given_up


def _size(copies: Iterable[_Copy]) -> int:
    return sum(len(copy.body) for copy in copies)
