# SPDX-License-Identifier: Apache-2.0
"""HTTP answers under way: how much memory their bodies hold together, and who is given up when that is too much.

Clients that do not read keep the page they asked for in memory. Those that got the same page share one copy; the sum of
all copies is bounded.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

UNDER_WAY_BYTES = 64 << 20
"""Answers that clients have yet to take may hold this much memory, or two pages where pages are larger than half."""
SMALL_BYTES = 16 << 10
"""An answer of at most this size (``/health``) is never refused."""
STALLED_SECONDS = 1.0
"""Where room is needed, an answer of which the client took nothing for so long is given up."""
PATIENCE_SECONDS = 10.0
"""Where room is needed, an answer under way for so long is given up; Prometheus waits no longer by default."""
_ROOM_SECONDS = 0.5

CONNECTION = "ebpf_sidecar.connection"
"""The key under which a request's environment (PEP 3333) holds its `Client`."""

Clock = Callable[[], float]


class Client(Protocol):
    """The connection on which a request came."""

    reserve: bool
    """Whether its request came when all places but those for probes of the service's health were in use."""

    def give_up(self) -> None:
        """Close it soon, from any thread."""


class Answer(io.BytesIO):
    """A body that one client is taking: a view of bytes that all who take the same page share, until closed."""

    def __init__(self, body: bytes, give_up: Callable[[], None], clock: Clock, done: Callable[[Answer], None]) -> None:
        super().__init__(body)  # CPython shares immutable bytes until the first write, and nothing writes
        self.give_up = give_up
        self.key, self.size = id(body), len(body)
        self._body = body  # so that no other bytes get its id
        self.began = self.moved = clock()
        self._clock, self._done = clock, done

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Also notes that the client took something: the server then seeks forward."""
        if whence == io.SEEK_CUR and offset:
            self.moved = self._clock()
        return super().seek(offset, whence)

    def close(self) -> None:
        """Let go of the body; safe to call twice."""
        if self.closed:
            return
        self._done(self)
        super().close()
        self._body = b""
        self.give_up = _nothing  # not the connection, which holds this: memory must not wait for the garbage collector

    def stalled(self, now: float) -> bool:
        """Whether the client is too slow to be kept when others need the room."""
        return now - self.moved >= STALLED_SECONDS or now - self.began >= PATIENCE_SECONDS


def _nothing() -> None:
    pass


class Answers:
    """All answers under way in the process; thread-safe."""

    def __init__(self, most: int = UNDER_WAY_BYTES, clock: Clock = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._changed = threading.Condition()
        self._copies: dict[int, list[Answer]] = {}

    def begin(self, body: bytes, give_up: Callable[[], None]) -> Answer | None:
        """``body`` to be read by one client, or None where there is no room for another copy.

        ``give_up`` closes the client's connection, soon and from any thread, when others need the room.
        """
        stalled = self._in_the_way(body)
        for answer in stalled:  # not under the lock, which closing one takes, too
            answer.give_up()
        with self._changed:
            if stalled:
                self._changed.wait_for(lambda: self._fits(body), _ROOM_SECONDS)
            if not self._fits(body):
                return None
            answer = Answer(body, give_up, self._clock, self._end)
            self._copies.setdefault(id(body), []).append(answer)
            return answer

    @property
    def bytes_held(self) -> int:
        """What the bodies of all answers under way hold, each copy counted once."""
        with self._changed:
            return _size(self._copies.values())

    def _end(self, answer: Answer) -> None:
        with self._changed:
            takers = self._copies.get(answer.key, [])
            if answer in takers:
                takers.remove(answer)
            if not takers:
                self._copies.pop(answer.key, None)
            self._changed.notify_all()

    def _fits(self, body: bytes) -> bool:
        if len(body) <= SMALL_BYTES or id(body) in self._copies:
            return True
        large = [takers for takers in self._copies.values() if takers[0].size > SMALL_BYTES]
        return len(large) < 2 or _size(large) + len(body) <= self._most

    def _in_the_way(self, body: bytes) -> list[Answer]:
        """Whom to give up for ``body``: all takers of copies that only stalled clients hold, the oldest first."""
        with self._changed:
            if self._fits(body):
                return []
            now, given_up = self._clock(), list[Answer]()
            large = [list(takers) for takers in self._copies.values() if takers[0].size > SMALL_BYTES]
            needed = _size(large) + len(body) - self._most
            for takers in large:  # a dict keeps the order in which copies came
                if needed > 0 and all(answer.stalled(now) for answer in takers):
                    needed -= takers[0].size
                    given_up += takers
            return given_up


def _size(copies: Iterable[list[Answer]]) -> int:
    return sum(takers[0].size for takers in copies)
