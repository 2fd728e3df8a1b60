# SPDX-License-Identifier: Apache-2.0
"""The contract between the pipeline and its components: protocols with few methods, no base classes.

A component may have ``start`` and ``shutdown`` (see `Lifecycle`), and leaves out what it does not need.
``start`` is called once, before any data, exporters first and receivers last. ``shutdown`` is called from the receivers
forwards, so that everything drains; it must be safe without ``start`` and twice; nothing is passed on after it.
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
from .payload import Payload
from .privileged import RequiredPrivileges
from .push_settings import PushSettings
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why frames were not taken (a word or two), and after how many seconds it is worth trying again."""

    reason: str
    retry_after: float = 0.0


Consumer = Callable[[Frames], Refusal | None]
"""Takes frames and passes them on; never raises: what fails downstream is counted there. A receiver that others send to
answers them with a refusal; one whose source goes on counting need not look at it."""


class OnFailure(StrEnum):
    """What becomes of frames that a processor fails on: they go on as they came, or are dropped and counted."""

    KEEP = "keep"
    DROP = "drop"


class Receiver(Protocol):
    """Makes frames and hands them to the consumer, from a thread of its own, until shut down."""

    def start(self, consumer: Consumer) -> None:
        """Begin to produce."""
        ...

    def shutdown(self) -> None:
        """Produce a last time where that makes sense, then stop."""
        ...


class Processor(Protocol):
    """Frames in, frames out. Calls come one at a time for each pipeline.

    It may have an attribute ``on_failure``, an `OnFailure`: `DROP` where frames must not pass as they came, as in a
    filter. Without it they do.
    """

    def process(self, frames: Frames) -> Frames:
        """The frames to pass on. An exception is counted; `RefusedError` gives the batch back to the receiver."""
        ...


class Exporter(Protocol):
    """Keeps frames or prints them. Calls come one at a time, from the receivers' threads, and hold these up: what
    delivers to a back end is a `Sender`."""

    def export(self, frames: Frames) -> int | None:
        """Take a batch. Raises `ExportError`.

        Returns how many points were left out and reported as dropped (`Telemetry.dropped`), if any: they are not sent.
        """
        ...


class Sender(Protocol):
    """An exporter that delivers to a back end, which may be slow or away. The pipeline queues, retries and counts; the
    settings derive from `PushSettings`."""

    def encode(self, frames: Frames) -> Iterable[Payload]:
        """What to send for a batch, once; a retry sends the same bytes. Points that no payload has are not sent, and
        the sender has reported them as dropped (`Telemetry.dropped`). With several consumers, threads call it at the
        same time.
        """
        ...

    def send(self, payload: Payload) -> None:
        """Deliver within the ``timeout``. Raises `SendError` for whatever was not delivered. An `OSError` counts as a
        failure that may pass, any other exception as a refusal.
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


SettingsClass = type[Settings]
PushSettingsClass = type[PushSettings]
Claim = Listening | MapCleanup


def no_claims(settings: Settings) -> Iterable[Claim]:  # noqa: ARG001 # the contract's argument
    """Of a component that shares nothing."""
    return ()


def no_metrics(folders: Sequence[Path]) -> Iterable[MetricInfo]:  # noqa: ARG001 # the contract's argument
    """Of a component that passes on what others make."""
    return ()


class Details(TypedDict, total=False):
    """What a factory may say besides; see `Factory`."""

    stability: Stability
    description: str
    claims: Callable[[Any], Iterable[Claim]]
    privileges: RequiredPrivileges
    metrics: Callable[[Sequence[Path]], Iterable[MetricInfo]]


@dataclass(frozen=True, slots=True)
class Factory:
    """How the pipeline makes a component: what a plugin registers.

    Made by the method that is named after the kind of component, so that a type checker sees whether ``create``, which
    takes the checked settings and the context, returns one. ``description``: one line, shown by ``ebpf-sidecar
    components``.
    ``claims`` takes the checked settings and says what the component will ask for that others may want as well, so that
    ``ebpf-sidecar check`` finds the conflict.
    ``metrics`` takes the folders of all probes and names every metric that the component may make.
    ``privileges``: the rights that it needs once the service has given up its own.
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
        type: str,  # noqa: A002 # the configuration's word
        create: Callable[[Any, Context], Receiver],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """Of a receiver."""
        return cls(ComponentKind.RECEIVER, type, create, settings, **more)

    @classmethod
    def processor(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Processor],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """Of a processor."""
        return cls(ComponentKind.PROCESSOR, type, create, settings, **more)

    @classmethod
    def exporter(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Exporter],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """Of an exporter that keeps or prints."""
        return cls(ComponentKind.EXPORTER, type, create, settings, **more)

    @classmethod
    def sender(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Sender],
        settings: PushSettingsClass = PushSettings,
        **more: Unpack[Details],
    ) -> Factory:
        """Of an exporter that delivers to a back end."""
        return cls(ComponentKind.EXPORTER, type, create, settings, **more)

    @classmethod
    def extension(
        cls,
        type: str,  # noqa: A002 # as above
        create: Callable[[Any, Context], Extension],
        settings: SettingsClass = Settings,
        **more: Unpack[Details],
    ) -> Factory:
        """Of an extension."""
        return cls(ComponentKind.EXTENSION, type, create, settings, **more)

    @property
    def sends(self) -> bool:
        """Whether it makes a `Sender`, which its settings decide."""
        return self.kind is ComponentKind.EXPORTER and issubclass(self.settings, PushSettings)
