# SPDX-License-Identifier: Apache-2.0
"""``/health``, ``/ready`` and ``/api/v1/stats``: on every HTTP endpoint that a component opens."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.host import Request, Response, Routes
from ebpf_sidecar.pipeline.telemetry.health import Health
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger

HEALTH_PATHS = ("/health", "/ready")
"""The pages that keep the service alive: whoever runs it restarts it when they are not answered."""
PATHS = (*HEALTH_PATHS, "/api/v1/stats")
"""On every HTTP endpoint; no component can have them."""
_JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class StatusPages:
    """The pages' contents."""

    health: Health
    ledger: Ledger
    clock: Clock
    version: str
    pipelines: Callable[[], Sequence[dict[str, Any]]]
    """A description of each pipeline: its id and the ids of its components."""
    started: float

    def handlers(self) -> dict[str, Callable[[Request], Response]]:
        """The pages by path."""
        return dict(zip(PATHS, (self.alive, self.ready, self.stats), strict=True))

    def alive(self, _request: Request) -> Response:
        """200 while every component that owes a heartbeat keeps it, else 503 with the reasons."""
        return self._verdict(self.health.problems())

    def ready(self, _request: Request) -> Response:
        """200 once everything was started and has delivered, else 503 with the reasons."""
        return self._verdict(self.health.unready())

    def stats(self, _request: Request) -> Response:
        """Everything that the service knows about itself."""
        problems = self.health.unready()
        return _json(
            {
                "version": self.version,
                "uptime_seconds": round(self.clock.monotonic() - self.started, 3),
                "ready": not problems,
                "problems": problems,
                "pipelines": list(self.pipelines()),
                "metrics": [
                    {"name": name, "attributes": dict(attributes), "value": value}
                    for name, attributes, value in sorted(self.ledger.snapshot())
                ],
            }
        )

    @staticmethod
    def _verdict(problems: Sequence[str]) -> Response:
        if problems:
            return _json({"status": "unavailable", "problems": list(problems)}, status=503)
        return _json({"status": "ok"})


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content, indent=2).encode() + b"\n", status, _JSON)


@dataclass(frozen=True, slots=True)
class RoutesWithStatusPages:
    """Routes that carry the status pages along to each endpoint that is opened."""

    routes: Routes
    pages: StatusPages
    _paths: dict[str, set[str]] = field(default_factory=dict)
    """What components answer on each endpoint, beside the status pages."""

    def add(self, endpoint: str, path: str, handler: Callable[[Request], Response]) -> None:
        """Answer ``path`` on ``endpoint``, and the status pages beside it."""
        if endpoint not in self._paths:
            for page, answer in self.pages.handlers().items():
                self.routes.add(endpoint, page, answer)
        paths = self._paths.setdefault(endpoint, set())
        try:
            self.routes.add(endpoint, path, handler)
            paths.add(path)
        finally:
            self._close_unused(endpoint)

    def remove(self, endpoint: str, path: str) -> None:
        """Stop answering ``path``; with the last path of a component the status pages go, too."""
        self.routes.remove(endpoint, path)
        self._paths.get(endpoint, set()).discard(path)
        self._close_unused(endpoint)

    def _close_unused(self, endpoint: str) -> None:
        if endpoint in self._paths and not self._paths[endpoint]:
            del self._paths[endpoint]
            for page in self.pages.handlers():
                self.routes.remove(endpoint, page)
