# SPDX-License-Identifier: Apache-2.0
"""The contract between the pipeline and its components: protocols with few methods, no base classes.

A component may have ``start`` and ``shutdown`` (see `Lifecycle`), and leaves out what it does not need.
``start`` is called once, before any data, exporters first and receivers last. ``shutdown`` is called from the receivers
forwards, so that everything drains; it must be safe without ``start`` and twice; nothing is passed on after it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .clock import Clock, SystemClock
from .endpoint import Listening
from .frame import Frames
from .ids import ComponentId as ComponentId  # noqa: PLC0414 # authors find it here, with the rest of the contract
from .ids import ComponentKind as ComponentKind  # noqa: PLC0414 # the same
from .privileged import OwnRights, Privileged, Privileges
from .resource import Resource
from .settings import Settings


class Stability(StrEnum):
    """How far a component may be relied upon, in the Collector's words."""

    DEVELOPMENT = "development"
    ALPHA = "alpha"
    BETA = "beta"
    STABLE = "stable"


@runtime_checkable
class Lifecycle(Protocol):
    """What a component that opens something has.

    ``start`` may take as long as its work does, but waits for nobody for longer than a few seconds; a signal that asks
    the service to end meanwhile interrupts it by an exception that is no `Exception`, in the middle of any line.
    ``shutdown`` must be back within a few seconds: what takes longer is left behind at the end of the process.
    """

    def start(self) -> None:
        """Open what is needed. Raise `SidecarError` to stop the service from starting."""
        ...

    def shutdown(self) -> None:
        """Pass on what is held and close everything."""
        ...


Consumer = Callable[[Frames], None]
"""Takes frames and passes them on; never raises: what fails downstream is counted there."""


class Receiver(Protocol):
    """Makes frames and hands them to the consumer, from a thread of its own, until shut down."""

    def start(self, consumer: Consumer) -> None:
        """Begin to produce."""
        ...

    def shutdown(self) -> None:
        """Produce a last time where that makes sense, then stop."""
        ...


class Processor(Protocol):
    """Frames in, frames out. Calls come one at a time for each pipeline."""

    def process(self, frames: Frames) -> Frames:
        """The frames to pass on. An exception is counted, and the frames go on as they came."""
        ...


class Exporter(Protocol):
    """Takes frames out of the process. Calls come one at a time, from the exporter's own queue."""

    def export(self, frames: Frames) -> int | None:
        """Deliver. Raises `ExportError`; with ``retry`` set the same frames are offered again later.

        Returns how many points were left out and reported as dropped (`Telemetry.dropped`), if any: they are not sent.
        """
        ...


class Extension(Protocol):
    """Runs beside the pipelines: started before them, shut down after them."""

    def start(self) -> None:
        """Open what is needed."""
        ...

    def shutdown(self) -> None:
        """Close everything."""
        ...


@dataclass(frozen=True, slots=True)
class MapCleanup:
    """How a receiver shall treat kernel maps; asked for by a processor, see `UpstreamRequest`.

    ``strategy``: ``clear_after_read``, ``keep_recent`` or ``no_cleanup``. ``interval`` and ``stale_after`` in seconds.
    """

    strategy: str = "no_cleanup"
    interval: float = 30.0
    stale_after: float = 300.0


@runtime_checkable
class UpstreamRequest(Protocol):
    """A processor whose work has to be done at the source.

    Data only flows downstream; while the graph is built, and only then, requests travel upstream.
    """

    @property
    def map_cleanup(self) -> MapCleanup:
        """What the receivers of the processor's pipelines shall do."""
        ...


@runtime_checkable
class CleansMaps(Protocol):
    """A receiver that can follow a `MapCleanup`."""

    def clean_maps(self, cleanup: MapCleanup) -> None:
        """Follow ``cleanup`` from the next read on. Called before start."""
        ...


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
    privileged: Privileged = field(default_factory=OwnRights)
    """Does what needs rights that the service has given up."""
    finished: Finished = ignore_finished
    """Called by a receiver whose data have come to their end, or by an exporter that nobody listens to any more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "resource", Resource(self.resource))


SettingsClass = type[Settings]
Claim = Listening | MapCleanup


def no_claims(settings: Settings) -> Iterable[Claim]:  # noqa: ARG001 # the contract's argument
    """Of a component that shares nothing."""
    return ()


@dataclass(frozen=True, slots=True)
class Factory:
    """How the pipeline makes a component: what a plugin registers.

    ``create`` takes the checked settings and the context and returns a `Receiver`, `Processor`, `Exporter` or
    `Extension` according to ``kind``. ``description``: one line, shown by ``ebpf-sidecar components``.
    ``claims`` takes the checked settings and says what the component will ask for that others may want as well, so that
    ``ebpf-sidecar check`` finds the conflict.
    ``privileges``: the rights that it needs once the service has given up its own.
    """

    kind: ComponentKind
    type: str
    create: Callable[[Any, Context], Receiver | Processor | Exporter | Extension]
    settings: SettingsClass = Settings
    stability: Stability = Stability.DEVELOPMENT
    description: str = ""
    claims: Callable[[Any], Iterable[Claim]] = no_claims
    privileges: Privileges = field(default_factory=Privileges)
