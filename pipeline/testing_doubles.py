# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the service that record what a component does; authors import them from `testing`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .errors import SidecarError
from .host import Request, Response
from .tls_settings import ServerTls


@dataclass
class RecordedTelemetry:
    """Records a component's telemetry for a test to inspect."""

    drops: Counter[str] = field(default_factory=Counter)
    """Points dropped by reason."""
    errors: list[tuple[str, str]] = field(default_factory=list)
    """Stage and text of every reported error."""
    recoveries: list[str] = field(default_factory=list)
    """Stages that were reported as recovered."""
    gauges: dict[str, Callable[[], float]] = field(default_factory=dict)
    """The readers of the gauges it publishes, by name."""
    counters: dict[str, Callable[[], float]] = field(default_factory=dict)
    """The readers of the counters it publishes, by name."""

    losses: dict[str, Callable[[], int]] = field(default_factory=dict)
    """The readers of how many events were lost, by reason."""

    def dropped(self, points: int, reason: str) -> None:
        """Remember dropped points."""
        self.drops[reason] += points

    def error(self, stage: str, problem: BaseException | str) -> None:
        """Remember an error."""
        self.errors.append((stage, str(problem)))

    def recovered(self, stage: str) -> None:
        """Remember a recovery."""
        self.recoveries.append(stage)

    def observe(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Remember a gauge's reader; a description must be given."""
        self.gauges[_described(name, unit, description)] = read

    def count(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Remember a counter's reader; a description must be given."""
        self.counters[_described(name, unit, description)] = read

    def lost(self, reason: str, read: Callable[[], int]) -> None:
        """Remember the reader of lost events."""
        self.losses[reason] = read


def _described(name: str, unit: str, description: str) -> str:
    if not description:
        raise ValueError(f'"{name}" in "{unit}" has no description; say what it counts')
    return name


@dataclass
class RecordedHeartbeat:
    """Records a component's heartbeat for a test to inspect."""

    expected: float | None = None
    """Seconds between beats while they are expected, else None."""
    beats: int = 0

    def expect(self, seconds: float) -> None:
        """Remember the promised interval."""
        self.expected = seconds

    def beat(self) -> None:
        """Count a beat."""
        self.beats += 1

    def stop(self) -> None:
        """Forget the promise."""
        self.expected = None


class RecordedRoutes:
    """Routes without a network: `get` calls the handler as a server would."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[str, str], Callable[[Request], Response]] = {}

    def add(
        self,
        endpoint: str,
        path: str,
        handler: Callable[[Request], Response],
        *,
        max_body: int = 0,  # noqa: ARG002 # the contract's argument
        tls: ServerTls | None = None,  # noqa: ARG002 # the same
    ) -> None:
        """Remember a handler. Raises `SidecarError` when the path is taken."""
        if (endpoint, path) in self.handlers:
            raise SidecarError(f'"{endpoint}{path}" is taken; choose another path')
        self.handlers[endpoint, path] = handler

    def remove(self, endpoint: str, path: str) -> None:
        """Forget a handler; an unknown one is not an error."""
        self.handlers.pop((endpoint, path), None)

    def get(self, path: str, headers: Mapping[str, str] | None = None, endpoint: str | None = None) -> Response:
        """The response to a GET of ``path`` (on the only endpoint that has it, unless one is given)."""
        [handler] = [h for (e, p), h in self.handlers.items() if p == path and endpoint in (None, e)]
        served = tuple(sorted(p for e, p in self.handlers if endpoint in (None, e)))
        return handler(Request("GET", path, dict(headers or {}), served=served))
