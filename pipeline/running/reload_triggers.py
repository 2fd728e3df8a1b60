# SPDX-License-Identifier: Apache-2.0
"""What asks for a reload besides SIGHUP: ``POST /-/reload``, and files that have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.errors import ConfigError, SidecarError
from ebpf_sidecar.pipeline.host import Request, Response

from .reload_request import ReloadRequest

Ask = Callable[[ReloadRequest], None]
_LOOK_SECONDS = 0.2
_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


@dataclass
class ReloadPage:
    """Answers ``POST /-/reload`` once the reload is done. ``stopping``: the service ends, so none will be."""

    ask: Ask
    stopping: Callable[[], bool]
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def reload(self, _request: Request) -> Response:
        """200 with what has changed, 400 with the mistakes in the configuration, 500 with what cannot start.

        One request at a time, so that they cannot occupy the workers that answer everything else: 503 to others.
        """
        if not self._turn.acquire(blocking=False):
            return _later("a reload is under way; try again")
        try:
            request = ReloadRequest("POST /-/reload")
            self.ask(request)
            while not request.done.wait(_LOOK_SECONDS):
                if self.stopping():
                    return _later("the service is stopping")
            return _answer(request)
        finally:
            self._turn.release()


def _answer(request: ReloadRequest) -> Response:
    if request.problem is None:
        return _text(HTTPStatus.OK, f"reloaded; {request.summary}")
    wrong = isinstance(request.problem, ConfigError)
    return _text(HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.INTERNAL_SERVER_ERROR, in_full(request.problem))


def in_full(problem: SidecarError) -> str:
    """An error with the component that it is about."""
    return f"{problem.component}: {problem}" if problem.component else str(problem)


def _text(status: HTTPStatus, text: str) -> Response:
    return Response(f"{text}\n".encode(), status, _PLAIN)


def _later(text: str) -> Response:
    return Response(f"{text}\n".encode(), HTTPStatus.SERVICE_UNAVAILABLE, {**_PLAIN, "Retry-After": "1"})


class ConfigWatch:
    """Asks for a reload when ``changed`` says so; in a thread of its own, as a file system may hang."""

    def __init__(self, changed: Callable[[], bool], interval: float, clock: Clock, ask: Ask) -> None:
        self._changed, self._interval, self._clock, self._ask = changed, interval, clock, ask
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, name="config watch", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._clock.wait(self._stopped, self._interval):
            if self._changed():
                request = ReloadRequest("its files have changed")
                self._ask(request)
                while not (request.done.wait(_LOOK_SECONDS) or self._stopped.is_set()):
                    pass
