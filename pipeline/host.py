# SPDX-License-Identifier: Apache-2.0
"""What the service offers to a component: its own numbers, signs of life, HTTP routes, time, and who else is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .clock import Clock, SystemClock
from .errors import SidecarError
from .ids import ComponentId, ComponentKind
from .privileged import DirectOperations, PrivilegedOperations
from .resource import Resource
from .suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the kernel's file systems are; tests give small trees of their own."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    cgroup: Path = Path("/sys/fs/cgroup")


class Telemetry(Protocol):
    """A component's own numbers. What goes in and out is counted by the graph; only the rest is reported here."""

    def dropped(self, points: int, reason: str) -> None:
        """Count data points that will not be passed on, and why (a word or two, no free text)."""
        ...

    def error(self, stage: str, problem: BaseException | str) -> None:
        """Count an error in a stage (``receiving``, ``processing``, ``sending`` …); logged when it first appears."""
        ...

    def recovered(self, stage: str) -> None:
        """Say that a stage works again; logged when an error was reported before."""
        ...

    def observe(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Publish a gauge of the component's own, read when it is asked for."""
        ...

    def count(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Publish a counter of the component's own: a number that only grows, read when it is asked for."""
        ...


class Heartbeat(Protocol):
    """A component's sign of life, by which ``/health`` judges it."""

    def expect(self, seconds: float) -> None:
        """From now on a beat is due every so many seconds; three missed ones make the service unhealthy."""
        ...

    def beat(self) -> None:
        """Alive."""
        ...

    def stop(self) -> None:
        """No more beats are due."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as a route sees it; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    served: Sequence[str] = ()
    """All paths that are answered on the same endpoint."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer. ``headers`` includes Content-Type."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain; charset=utf-8"})


class Routes(Protocol):
    """The HTTP servers of the process: components that name the same endpoint share one server."""

    def add(self, endpoint: str, path: str, handler: Callable[[Request], Response]) -> None:
        """Answer ``path`` on ``endpoint`` (``host:port``) from the service's start on. Raises `SidecarError`
        when the path is taken or the port cannot be bound."""
        ...

    def remove(self, endpoint: str, path: str) -> None:
        """Answer no longer; a server with nothing left to answer closes. A path that is not there is no mistake."""
        ...


class Finished(Protocol):
    """Takes a component's word that it will never do anything more.

    The service ends, as after SIGTERM, once that is true of all receivers or of all exporters that run.
    """

    def __call__(self, exit_code: int = 0) -> None:
        """May be called by any thread, and again. ``exit_code``: of the process, if this was the last one."""
        ...


def ignore_finished(exit_code: int = 0) -> None:
    """For contexts without a service around them."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the service gives to a component when it is created."""

    id: ComponentId
    telemetry: Telemetry
    heartbeat: Heartbeat
    routes: Routes
    self_metrics: Callable[[bool], bytes]
    """The service's own telemetry as exposition text, without the final EOF; argument: OpenMetrics instead of 0.0.4."""
    logger: logging.Logger | logging.LoggerAdapter[Any]
    clock: Clock = field(default_factory=SystemClock)
    paths: Paths = Paths()
    resource: Mapping[str, str] = field(default_factory=Resource)
    """Who or what is observed; any mapping, held as a `Resource`."""
    unready: Callable[[], Sequence[str]] = tuple
    """Why the service is not ready, one reason an entry; empty when it is."""
    privileged: PrivilegedOperations = field(default_factory=DirectOperations)
    """Does what needs rights that the service has given up."""
    finished: Finished = ignore_finished
    """Called by a receiver whose data have come to their end, or by an exporter that nobody listens to any more."""
    extensions: Mapping[ComponentId, Any] = field(default_factory=dict)
    """Those of the service, made but not started: an extension itself sees those before it."""

    def extension(self, name: str) -> Any:
        """The extension of that id. Raises `SidecarError` where the service has none."""
        id_ = ComponentId.parse(ComponentKind.EXTENSION, name)
        if id_ not in self.extensions:
            hint = (
                did_you_mean(name, map(str, self.extensions)) or f"; add {name} to extensions and service::extensions"
            )
            raise SidecarError(f'extension "{name}" is not in use{hint}', component=str(self.id))
        return self.extensions[id_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "resource", Resource(self.resource))
