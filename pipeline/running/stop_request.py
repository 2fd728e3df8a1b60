# SPDX-License-Identifier: Apache-2.0
"""Who may end the service, and how: signals, and components that have nothing left to do.

SIGINT, SIGTERM    end it in order; while it is still starting, at once; a second one does not wait for the drain
SIGHUP             the terminal has gone: ends it in order; otherwise a request to reload, which is logged and refused
SIGUSR1, SIGUSR2   logged and ignored, because their usual effect would be the end
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_NO_RELOAD = "SIGHUP: reloading is not supported yet; going on with the configuration as it was read at the start"
_NO_MEANING = "%s has no meaning here; ignored"


class StartInterrupted(BaseException):
    """A signal asked the service to end while it was starting: whatever is being waited for is given up."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Meanwhile SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, except those that were ignored at the start."""
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
    """Whether this process has a controlling terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


@dataclass
class StopRequest:
    """The request to end the service, and the exit code that it brings.

    ``asked``: set once somebody wants the end. ``starting``: signals interrupt what the main thread is doing.
    """

    asked: threading.Event = field(default_factory=threading.Event)
    exit_code: int = 0
    starting: bool = False
    terminal: Callable[[], bool] = has_terminal
    _follows_terminal: bool = False
    _noting: bool = False
    _ignored: deque[str] = field(default_factory=lambda: deque(maxlen=10))

    def ask(self, exit_code: int = 0) -> None:
        """Ask for the end; the first one to ask decides about the exit code."""
        if not self.asked.is_set():
            self.exit_code = exit_code
            self.asked.set()

    def note_signals(self) -> None:
        """Take those signals of this process that are no end; from its main thread, and as early as possible."""
        if self._noting:
            return
        # started with nohup or without a terminal, it has no terminal to end with
        self._follows_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and self.terminal()
        self._noting = True
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._note)

    def handle_signals(self) -> None:
        """Take all signals of this process, from its main thread; the service is starting from now on."""
        self.note_signals()
        self.starting = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)

    def ignored(self) -> Iterator[str]:
        """What to log about the signals that came since the last call and had no effect."""
        while self._ignored:
            yield self._ignored.popleft()

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self.asked.is_set():
            os._exit(128 + number)
        self.asked.set()
        if self.starting:
            raise StartInterrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Only remembered: the log may be locked by what this interrupts."""
        if number != signal.SIGHUP:
            self._ignored.append(_NO_MEANING % signal.Signals(number).name)
        elif self._follows_terminal and not self.terminal():
            self._end(number, frame)
        else:
            self._ignored.append(_NO_RELOAD)
