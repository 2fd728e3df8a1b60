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
    gone: bool = False
    """Whether its component has been shut down for good."""

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

    def withdraw(self) -> None:
        """The component is gone."""
        self.gone = True

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
    _all: tuple[ComponentHeartbeat, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def heartbeat(self, name: str) -> ComponentHeartbeat:
        """The heartbeat of a component, created on first use."""
        known = [each for each in self._present() if each.name == name]
        return known[-1] if known else self.new_heartbeat(name)

    def new_heartbeat(self, name: str) -> ComponentHeartbeat:
        """The heartbeat of a component that may replace one of the same name, which is still there."""
        heartbeat = ComponentHeartbeat(name, self.clock)
        with self._lock:
            self._all = (*self._present(), heartbeat)
        return heartbeat

    def _present(self) -> list[ComponentHeartbeat]:
        return [each for each in self._all if not each.gone]

    def started(self) -> None:
        """All components have started."""
        self._started.set()

    def stopping(self) -> None:
        """The service is shutting down: no longer ready, but still alive."""
        self._stopping.set()

    def problems(self) -> list[str]:
        """Why the service is not healthy; empty if it is."""
        return [problem for heartbeat in self._present() if (problem := heartbeat.problem())]

    def unready(self) -> list[str]:
        """Why the service is not ready; empty if it is."""
        if self._stopping.is_set():
            return ["shutting down"]
        if not self._started.is_set():
            return ["starting"]
        waiting = [each.name for each in self._present() if each.interval and not each.beats]
        return [f"{name}: has not delivered data yet" for name in waiting] + self.problems()
