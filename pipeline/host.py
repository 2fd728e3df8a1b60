# SPDX-License-Identifier: Apache-2.0
"""What the service offers a component: telemetry, heartbeat, HTTP routes, a clock, and its extensions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from .clock import Clock, SystemClock
from .errors import SidecarError
from .ids import ComponentId, ComponentKind
from .privileged import DirectOperations, PrivilegedOperations
from .resource import Resource
from .suggestions import did_you_mean
from .tls_settings import ServerTls


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the kernel's file systems are mounted; tests pass small trees of their own."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    cgroup: Path = Path("/sys/fs/cgroup")


class Telemetry(Protocol):
    """A component's own telemetry. The graph counts what goes in and out; only the rest is reported here."""

    def dropped(self, points: int, reason: str) -> None:
        """Count data points that are not passed on, by reason (a word or two, no free text)."""
        ...

    def error(self, stage: str, problem: BaseException | str) -> None:
        """Count an error in a stage (``receiving``, ``processing``, ``sending`` …); the first one is logged."""
        ...

    def recovered(self, stage: str) -> None:
        """Report that a stage works again; logged if an error was reported before."""
        ...

    def observe(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Publish a gauge of the component's own, read on each collection."""
        ...

    def count(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Publish a counter of the component's own: a number that only grows, read on each collection."""
        ...

    def lost(self, reason: str, read: Callable[[], int]) -> None:
        """Publish how many events were lost before they became data points, in the kernel for instance; read on each
        collection. ``reason``: a word or two."""
        ...


class Heartbeat(Protocol):
    """Liveness of a component, as shown by ``/health``."""

    def expect(self, seconds: float) -> None:
        """From now on a beat is due every ``seconds``; three missed beats make the service unhealthy."""
        ...

    def beat(self) -> None:
        """Report that the component is alive."""
        ...

    def stop(self) -> None:
        """No more beats are due."""
        ...


class BodyProblem(StrEnum):
    """Why the body of a request was not kept: it is larger than the route allows, or all bodies that are being
    received take too much memory."""

    TOO_LARGE = "too large"
    NO_ROOM = "no room"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as a route sees it; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    served: Sequence[str] = ()
    """All paths that are served on the same endpoint."""
    body: bytes = b""
    """Empty unless the route takes bodies, see `Routes.add`."""
    body_problem: BodyProblem | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response. ``headers`` include Content-Type."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain; charset=utf-8"})


class Routes(Protocol):
    """The HTTP servers of the process: components that name the same endpoint share one server."""

    def add(
        self,
        endpoint: str,
        path: str,
        handler: Callable[[Request], Response],
        *,
        max_body: int = 0,
        tls: ServerTls | None = None,
    ) -> None:
        """Serve ``path`` on ``endpoint`` (``host:port``) once the service has started.

        ``max_body``: the most bytes of a request's body; a route that takes bodies is for POST, others are for GET.
        ``tls``: that of the whole endpoint. Raises `SidecarError` if the path is taken, the port cannot be bound, or
        the endpoint has other TLS settings already.
        """
        ...

    def remove(self, endpoint: str, path: str) -> None:
        """Stop serving a path; a server with no path left closes. Removing an unknown path is not an error."""
        ...


class SheddableQueue(Protocol):
    """A sender's queue in memory, which can be made shorter when memory runs out."""

    def shed(self, wanted: int) -> int:
        """Drop the oldest batches until ``wanted`` bytes are free, or nothing waits; they are counted as dropped.

        Returns the bytes of what was dropped. Arrays that others still hold are among them.
        """
        ...


class Finished(Protocol):
    """Called by a component that has finished for good.

    The service stops, as after SIGTERM, once all running receivers or all running exporters have finished.
    """

    def __call__(self, exit_code: int = 0) -> None:
        """May be called from any thread, and repeatedly. ``exit_code``: of the process, if this is the last one."""
        ...


def ignore_finished(exit_code: int = 0) -> None:
    """For contexts without a service."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the service passes to a component when it is created."""

    id: ComponentId
    telemetry: Telemetry
    heartbeat: Heartbeat
    routes: Routes
    internal_telemetry: Callable[[bool], bytes]
    """The service's own telemetry as exposition text, without the final EOF; argument: OpenMetrics instead of 0.0.4."""
    logger: logging.Logger | logging.LoggerAdapter[Any]
    clock: Clock = field(default_factory=SystemClock)
    paths: Paths = Paths()
    resource: Mapping[str, str] = field(default_factory=Resource)
    """The observed entity; any mapping, stored as a `Resource`."""
    unready: Callable[[], Sequence[str]] = tuple
    """Why the service is not ready, one reason per entry; empty if it is."""
    privileged: PrivilegedOperations = field(default_factory=DirectOperations)
    """Performs operations that need privileges which the service has dropped."""
    finished: Finished = ignore_finished
    """Called by a receiver that has no more data, or by an exporter without a reader."""
    extensions: Mapping[ComponentId, Any] = field(default_factory=dict)
    """The service's extensions, created but not started; an extension sees those listed before it."""
    queues: Callable[[], Mapping[ComponentId, SheddableQueue]] = dict
    """The exporters' queues in memory, as of now: a reload replaces them."""

    def extension(self, name: str) -> Any:
        """The extension with that id. Raises `SidecarError` if the service has none."""
        id_ = ComponentId.parse(ComponentKind.EXTENSION, name)
        if id_ not in self.extensions:
            hint = (
                did_you_mean(name, map(str, self.extensions)) or f"; add {name} to extensions and service::extensions"
            )
            raise SidecarError(f'extension "{name}" is not in use{hint}', component=str(self.id))
        return self.extensions[id_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "resource", Resource(self.resource))
