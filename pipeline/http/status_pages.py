# SPDX-License-Identifier: Apache-2.0
"""``/health``, ``/ready`` and ``/api/v1/stats``: on every HTTP endpoint that a component opens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.host import Request, Response, Routes
from ebpf_sidecar.pipeline.telemetry.health import Health
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger
from ebpf_sidecar.pipeline.telemetry.ledger_section import ledger_section
from ebpf_sidecar.pipeline.tls_settings import ServerTls

HEALTH_PATHS = ("/health", "/ready")
"""The health check pages: an orchestrator restarts the service if they do not respond."""
PATHS = (*HEALTH_PATHS, "/api/v1/stats")
"""Served on every HTTP endpoint; components cannot use these paths."""
RELOAD = "/-/reload"
"""Where a reload can be requested, with POST, if the service's settings say so."""
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
        """200 while all expected heartbeats arrive, else 503 with the reasons."""
        return self._verdict(self.health.problems())

    def ready(self, _request: Request) -> Response:
        """200 once everything has started and delivered data, else 503 with the reasons."""
        return self._verdict(self.health.unready())

    def stats(self, _request: Request) -> Response:
        """The service's pipelines, its ledger, and all of its internal telemetry."""
        problems, pipelines = self.health.unready(), list(self.pipelines())
        return _json(
            {
                "version": self.version,
                "uptime_seconds": round(self.clock.monotonic() - self.started, 3),
                "ready": not problems,
                "problems": problems,
                "pipelines": pipelines,
                "ledger": ledger_section(self.ledger, pipelines),
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
    """Routes that add the status pages to each endpoint that is opened."""

    routes: Routes
    pages: StatusPages
    _paths: dict[str, set[str]] = field(default_factory=dict)
    """The components' paths on each endpoint, without the status pages."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(
        self,
        endpoint: str,
        path: str,
        handler: Callable[[Request], Response],
        *,
        max_body: int = 0,
        tls: ServerTls | None = None,
    ) -> None:
        """Serve ``path`` on ``endpoint``, together with the status pages."""
        with self._lock:
            if endpoint not in self._paths:
                for page, answer in self.pages.handlers().items():
                    self.routes.add(endpoint, page, answer, tls=tls)
            paths = self._paths.setdefault(endpoint, set())
            try:
                self.routes.add(endpoint, path, handler, max_body=max_body, tls=tls)
                paths.add(path)
            finally:
                self._close_unused(endpoint)

    def remove(self, endpoint: str, path: str) -> None:
        """Stop serving ``path``; the status pages are removed with the last component's path."""
        with self._lock:
            self.routes.remove(endpoint, path)
            self._paths.get(endpoint, set()).discard(path)
            self._close_unused(endpoint)

    def _close_unused(self, endpoint: str) -> None:
        if endpoint in self._paths and not self._paths[endpoint]:
            del self._paths[endpoint]
            for page in self.pages.handlers():
                self.routes.remove(endpoint, page)
