# SPDX-License-Identifier: Apache-2.0
"""Requests to the running service: to stop, by signals and by components that have finished, and to reload.

SIGINT, SIGTERM    graceful stop; immediate while the service is starting; a second signal skips the drain
SIGHUP             if the terminal has gone, graceful stop; otherwise a reload
SIGUSR1, SIGUSR2   logged and ignored, because their default action would kill the process
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import FrameType

from .reload_request import ReloadRequest

_NO_MEANING = "%s has no meaning here; ignored"


class StartInterrupted(BaseException):
    """A signal requested the stop while the service was starting: any wait is abandoned."""


@contextmanager
def interruptible() -> Iterator[None]:
    """While active, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, unless they were ignored before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def has_terminal() -> bool:
    """Whether this process still has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


@dataclass
class StopRequest:
    """The request to stop the service, and the exit code; beside it, requests to reload.

    ``asked``: set once a stop is requested. ``starting``: signals interrupt the main thread.
    """

    asked: threading.Event = field(default_factory=threading.Event)
    exit_code: int = 0
    starting: bool = False
    terminal: Callable[[], bool] = has_terminal
    _follows_terminal: bool = False
    _noting: bool = False
    _ignored: deque[str] = field(default_factory=lambda: deque(maxlen=10))
    _reloads: SimpleQueue[ReloadRequest | None] = field(default_factory=SimpleQueue)
    """None only wakes the one that waits. A signal handler may add to it at any line, unlike to other queues."""
    _hung_up: ReloadRequest | None = None

    def ask(self, exit_code: int = 0) -> None:
        """Request a stop; the first request sets the exit code."""
        if not self.asked.is_set():
            self.exit_code = exit_code
            self.asked.set()
            self._reloads.put(None)

    def reload(self, request: ReloadRequest) -> None:
        """Request a reload; may be called from any thread, and from a signal handler."""
        self._reloads.put(request)

    def next_reload(self, seconds: float) -> ReloadRequest | None:
        """The next request to reload, or None after ``seconds`` or when the service was asked to stop."""
        try:
            request = self._reloads.get(timeout=seconds)
        except Empty:
            return None
        if request is self._hung_up:
            self._hung_up = None  # one that arrives from now on may be about a later change
        return request

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """While active, a signal that asks for the stop raises `StartInterrupted`, as while the service starts."""
        self.starting = True
        try:
            if self.asked.is_set():
                raise StartInterrupted
            yield
        finally:
            self.starting = False

    def note_signals(self) -> None:
        """Handle the signals that do not request a stop. Call it from the main thread, as early as possible."""
        if self._noting:
            return
        # with nohup, or without a terminal, there is no terminal to follow
        self._follows_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and self.terminal()
        self._noting = True
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._note)

    def handle_signals(self) -> None:
        """Handle all signals; the service is starting from now on. Call it from the main thread."""
        self.note_signals()
        self.starting = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)

    def ignored(self) -> Iterator[str]:
        """Log messages about signals without effect since the last call."""
        while self._ignored:
            yield self._ignored.popleft()

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self.asked.is_set():
            os._exit(128 + number)
        self.asked.set()
        self._reloads.put(None)
        if self.starting:
            raise StartInterrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Only record the signal: the interrupted code may hold the log's lock."""
        if number != signal.SIGHUP:
            self._ignored.append(_NO_MEANING % signal.Signals(number).name)
        elif self._follows_terminal and not self.terminal():
            self._end(number, frame)
        elif self._hung_up is None:
            self._hung_up = ReloadRequest("SIGHUP")
            self._reloads.put(self._hung_up)
