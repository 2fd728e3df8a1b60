# SPDX-License-Identifier: Apache-2.0
"""The routes of one component: it removes only its own, and none outlives it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.host import Request, Response, Routes
from ebpf_sidecar.pipeline.tls_settings import ServerTls


@dataclass
class OwnRoutes:
    """Routes that remember what was added through them.

    So a component whose shutdown hangs cannot remove, later, the same path of the one that has replaced it.
    """

    routes: Routes
    _mine: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        endpoint: str,
        path: str,
        handler: Callable[[Request], Response],
        *,
        max_body: int = 0,
        tls: ServerTls | None = None,
    ) -> None:
        """Serve ``path`` on ``endpoint``. Raises `SidecarError` if that is not possible."""
        self.routes.add(endpoint, path, handler, max_body=max_body, tls=tls)
        with self._lock:
            self._mine.add((endpoint, path))

    def remove(self, endpoint: str, path: str) -> None:
        """Stop serving ``path``, if it is this component's."""
        with self._lock:
            if (endpoint, path) not in self._mine:
                return
            self._mine.discard((endpoint, path))
        self.routes.remove(endpoint, path)

    def withdraw(self) -> None:
        """Remove what is left: the component is gone."""
        for endpoint, path in sorted(self._mine):
            self.remove(endpoint, path)
