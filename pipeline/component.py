# SPDX-License-Identifier: Apache-2.0
"""The contract between the pipeline and its components: protocols with few methods, no base classes.

A component may have ``start`` and ``shutdown`` (see `Lifecycle`), and leaves out what it does not need.
``start`` is called once, before any data, exporters first and receivers last. ``shutdown`` is called from the receivers
forwards, so that everything drains; it must be safe without ``start`` and twice; nothing is passed on after it.

When the service reloads its configuration, a component whose settings compare equal lives on. One whose settings have
changed is replaced: the new one is created, and started, while the old one still runs, unless its factory's ``claims``
say that the two cannot share something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

from .endpoint import Listening
from .frame import Frames
from .host import Context
from .ids import ComponentId as ComponentId  # noqa: PLC0414 # authors find it here, with the rest of the contract
from .ids import ComponentKind as ComponentKind  # noqa: PLC0414 # the same
from .metric_info import MetricInfo
from .payload import LeftOut, Payload
from .privileged import RequiredPrivileges
from .push_settings import PushSettings
from .settings import Settings


class Stability(StrEnum):
    """How stable a component is, in the Collector's terms."""

    DEVELOPMENT = "development"
    ALPHA = "alpha"
    BETA = "beta"
    STABLE = "stable"


class Lifecycle(Protocol):
    """The methods of a component that opens something.

    ``start`` may take as long as its work takes, but must not wait longer than a few seconds for anything else. A
    signal that asks the service to stop interrupts it at any line, with an exception that is not an `Exception`.
    ``shutdown`` must return within a few seconds: the process exits without waiting any longer.
    """

    def start(self) -> None:
        """Open what is needed. Raise `SidecarError` to keep the service from starting."""
        ...

    def shutdown(self) -> None:
        """Pass on what is buffered and close everything."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why frames were not accepted (a word or two), and after how many seconds to retry."""

    reason: str
    retry_after: float = 0.0


Consumer = Callable[[Frames], Refusal | None]
"""Takes frames and passes them on; never raises: downstream failures are counted there. A receiver that clients push to
returns the refusal to them; one that reads cumulative counters can ignore it."""


class OnFailure(StrEnum):
    """What happens to frames when a processor fails: they pass unchanged, or are dropped and counted."""

    KEEP = "keep"
    DROP = "drop"


class Receiver(Protocol):
    """Makes frames and hands them to the consumer, from a thread of its own, until shut down."""

    def start(self, consumer: Consumer) -> None:
        """Start producing."""
        ...

    def shutdown(self) -> None:
        """Produce one last time if that makes sense, then stop."""
        ...


class Processor(Protocol):
    """Frames in, frames out. Calls come one at a time for each pipeline.

    It may have an attribute ``on_failure``, an `OnFailure`: `DROP` if frames must not pass unprocessed, as in a
    filter. By default they pass.
    """

    def process(self, frames: Frames) -> Frames:
        """The frames to pass on. An exception is counted; `RefusedError` gives the batch back to the receiver."""
        ...


class Exporter(Protocol):
    """Keeps frames or prints them. Calls come one at a time, from the receivers' threads, and block them: a component
    that delivers to a back end is a `Sender`."""

    def export(self, frames: Frames) -> Sequence[LeftOut] | None:
        """Take a batch; returns what was left out of it, if anything. Raises `ExportError`."""
        ...


class Sender(Protocol):
    """An exporter that delivers to a back end, which may be slow or unavailable. The pipeline queues, retries and
    counts; the settings derive from `PushSettings`."""

    def encode(self, frames: Frames) -> Iterable[Payload | LeftOut]:
        """The payloads of a batch; called once per batch, and retries send the same bytes. For points in no payload, it
        yields a `LeftOut`, so that every point is accounted for. Calls come one at a time, in the order in which
        batches were queued, from any thread.
        """
        ...

    def send(self, payload: Payload) -> None:
        """Deliver within ``timeout``. Raises `SendError` for anything that was not delivered. An `OSError` counts as a
        failure that may pass, any other exception as a refusal. With several consumers, threads call it concurrently.
        """
        ...


class Extension(Protocol):
    """Runs beside the pipelines: starts before them and shuts down after them."""

    def start(self) -> None:
        """Open what is needed."""
        ...

    def shutdown(self) -> None:
        """Close everything."""
        ...


@dataclass(frozen=True, slots=True)
class MapCleanup:
    """How a receiver cleans its kernel maps; requested by a processor, see `UpstreamRequest`.

    ``strategy``: ``clear_after_read``, ``keep_recent`` or ``no_cleanup``. ``interval`` and ``stale_after`` in seconds.
    """

    strategy: str = "no_cleanup"
    interval: float = 30.0
    stale_after: float = 300.0


@runtime_checkable
class UpstreamRequest(Protocol):
    """A processor whose work has to be done by the receiver.

    Data only flows downstream; requests travel upstream, but only while a graph is built.
    """

    @property
    def map_cleanup(self) -> MapCleanup:
        """What the receivers of the processor's pipelines should do."""
        ...


@runtime_checkable
class CleansMaps(Protocol):
    """A receiver that can follow a `MapCleanup`."""

    def clean_maps(self, cleanup: MapCleanup) -> None:
        """Apply ``cleanup`` from the next read on. Called before start, and at any time by a reload, from another
        thread."""
        ...


@dataclass(frozen=True, slots=True)
class OwnFolder:
    """The claim of a component that needs a folder for itself. ``setting``: the keys of the setting that names it."""

    path: Path
    setting: tuple[str, ...] = ("directory",)


SettingsClass = type[Settings]
PushSettingsClass = type[PushSettings]
Claim = Listening | MapCleanup | OwnFolder


def no_claims(settings: Settings) -> Iterable[Claim]:  # noqa: ARG001 # the contract's argument
    """For a component that needs nothing exclusively."""
    return ()


def no_metrics(folders: Sequence[Path]) -> Iterable[MetricInfo]:  # noqa: ARG001 # the contract's argument
    """For a component that only passes on metrics of others."""
    return ()


class Details(TypedDict, total=False):
    """Optional fields of a `Factory`."""

    stability: Stability
    description: str
    claims: Callable[[Any], Iterable[Claim]]
    privileges: RequiredPrivileges
    metrics: Callable[[Sequence[Path]], Iterable[MetricInfo]]


@dataclass(frozen=True, slots=True)
class Factory:
    """How the pipeline creates a component: what a plugin registers.

    Use the method for the kind of component, so that a type checker verifies the type that ``create`` returns. It takes
    the validated settings and the context. ``description``: one line, shown by ``ebpf-sidecar components``.
    ``claims`` takes the validated settings and returns what the component needs exclusively, so that ``ebpf-sidecar
    check`` finds conflicts.
    ``metrics`` takes the folders of all probes and returns every metric that the component may produce.
    ``privileges``: those that it needs after the service has dropped its own.
    """

    kind: ComponentKind
    type: str
    create: Callable[[Any, Context], Receiver | Processor | Exporter | Sender | Extension]
    settings: SettingsClass = Settings
    stability: Stability = Stability.DEVELOPMENT
    description: str = ""
    claims: Callable[[Any], Iterable[Claim]] = no_claims
    privileges: RequiredPrivileges = field(default_factory=RequiredPrivileges)
    metrics: Callable[[Sequence[Path]], Iterable[MetricInfo]] = no_metrics

    @classmethod
    def receiver(
        cls,
        type: str,  # noqa: A002 # the name in the configuration
        create: Callable[[Any, Context], Receiver],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """The factory of a receiver."""
        return cls(ComponentKind.RECEIVER, type, create, settings, **more)

    @classmethod
    def processor(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Processor],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """The factory of a processor."""
        return cls(ComponentKind.PROCESSOR, type, create, settings, **more)

    @classmethod
    def exporter(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Exporter],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """The factory of an exporter that keeps or prints frames."""
        return cls(ComponentKind.EXPORTER, type, create, settings, **more)

    @classmethod
    def sender(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Sender],
        settings: PushSettingsClass = PushSettings,
        **more: Unpack[Details],
    ) -> Factory:
        """The factory of an exporter that delivers to a back end."""
        return cls(ComponentKind.EXPORTER, type, create, settings, **more)

    @classmethod
    def extension(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Extension],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """The factory of an extension."""
        return cls(ComponentKind.EXTENSION, type, create, settings, **more)

    @property
    def sends(self) -> bool:
        """Whether it creates a `Sender`, which its settings class determines."""
        return self.kind is ComponentKind.EXPORTER and issubclass(self.settings, PushSettings)
