# SPDX-License-Identifier: Apache-2.0
"""Liveness and readiness of the service, based on its components' heartbeats."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.clock import Clock

MISSED_BEATS = 3
MIN_SILENCE_SECONDS = 3.0
"""A component that is silent for less may just be waiting for a processor, however short its interval is."""


@dataclass
class ComponentHeartbeat:
    """The heartbeat of one component: none is due until it calls `expect`."""

    name: str
    clock: Clock
    interval: float = 0.0
    last: float = 0.0
    beats: int = 0

    def expect(self, seconds: float) -> None:
        """From now on a beat is due every ``seconds``."""
        self.last, self.interval = self.clock.monotonic(), seconds

    def beat(self) -> None:
        """Report that the component is alive."""
        self.last = self.clock.monotonic()
        self.beats += 1

    def stop(self) -> None:
        """No more beats are due."""
        self.interval = 0.0

    def problem(self) -> str | None:
        """The problem, or None."""
        silent = self.clock.monotonic() - self.last
        if self.interval and silent > max(MISSED_BEATS * self.interval, MIN_SILENCE_SECONDS):
            return f"{self.name}: no heartbeat for {silent:.1f}s, expected every {self.interval:g}s"
        return None


@dataclass
class Health:
    """The health of the whole service."""

    clock: Clock
    _heartbeats: dict[str, ComponentHeartbeat] = field(default_factory=dict)
    _started: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def heartbeat(self, name: str) -> ComponentHeartbeat:
        """The heartbeat of a component, created on first use."""
        return self._heartbeats.setdefault(name, ComponentHeartbeat(name, self.clock))

    def started(self) -> None:
        """All components have started."""
        self._started.set()

    def stopping(self) -> None:
        """The service is shutting down: no longer ready, but still alive."""
        self._stopping.set()

    def problems(self) -> list[str]:
        """Why the service is not healthy; empty if it is."""
        return [problem for heartbeat in self._heartbeats.values() if (problem := heartbeat.problem())]

    def unready(self) -> list[str]:
        """Why the service is not ready; empty if it is."""
        if self._stopping.is_set():
            return ["shutting down"]
        if not self._started.is_set():
            return ["starting"]
        waiting = [
            heartbeat.name for heartbeat in self._heartbeats.values() if heartbeat.interval and not heartbeat.beats
        ]
        return [f"{name}: has not delivered data yet" for name in waiting] + self.problems()
