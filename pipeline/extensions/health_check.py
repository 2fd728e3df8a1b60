# SPDX-License-Identifier: Apache-2.0
"""Extension ``health_check``: the status pages on an endpoint of their own, and gRPC health checking.

Every HTTP endpoint that a component opens (such as the Prometheus exporter's) answers ``/health``, ``/ready`` and
``/api/v1/stats`` already. Use this extension where no such endpoint is open, or for ``grpc.health.v1``.

    extensions:
      health_check: {endpoint: 127.0.0.1:13133, grpc: {endpoint: 127.0.0.1:19090}}
    service: {extensions: [health_check], …}
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.endpoint import Endpoint, Listening
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.grpc_listening import add_port
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.http.servers import index
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.settings import Settings

_REFRESH_SECONDS = 1.0


class GrpcSettings(Settings):
    """A gRPC server for ``grpc.health.v1.Health``."""

    endpoint: Endpoint = "127.0.0.1:19090"
    """Where to listen, as ``host:port``."""


class HealthCheckSettings(Settings):
    """Where the service's health is served."""

    endpoint: Endpoint | None = "127.0.0.1:13133"
    """HTTP: where to serve ``/health``, ``/ready`` and ``/api/v1/stats``; null disables it."""
    grpc: GrpcSettings | None = None
    """gRPC health checking; off by default."""


def _claims(settings: HealthCheckSettings) -> Iterator[Listening]:
    if settings.endpoint is not None:
        yield Listening(settings.endpoint, "/")
    if settings.grpc is not None:
        yield Listening(settings.grpc.endpoint, setting=("grpc", "endpoint"))


class HealthCheck:
    """Serves health over HTTP and gRPC, as configured."""

    def __init__(self, settings: HealthCheckSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._grpc: GrpcHealth | None = None

    def start(self) -> None:
        """Start serving. Raises `SidecarError` if an endpoint cannot be opened."""
        if self._settings.endpoint is not None:
            self._context.routes.add(self._settings.endpoint, "/", index)
        if self._settings.grpc is not None:
            self._grpc = GrpcHealth(self._settings.grpc.endpoint, self._context)
            self._grpc.start()
            self._context.logger.info(
                "serving grpc.health.v1 on %s, port %d", self._settings.grpc.endpoint, self._grpc.port
            )

    def shutdown(self) -> None:
        """Stop serving."""
        if self._settings.endpoint is not None:
            self._context.routes.remove(self._settings.endpoint, "/")
        if self._grpc is not None:
            self._grpc.shutdown()


class GrpcHealth:
    """A gRPC server that reports SERVING while the service is ready."""

    def __init__(self, endpoint: str, context: Context) -> None:
        self._endpoint, self._context = endpoint, context
        self._stopped = threading.Event()
        self._server: Any = None
        self._servicer: Any = None
        self.port = 0

    def start(self) -> None:
        """Listen. Raises `SidecarError` if gRPC is not installed or the port is not available."""
        try:
            import grpc  # noqa: PLC0415 # most services never load it
            from grpc_health.v1 import health, health_pb2_grpc  # noqa: PLC0415 # as above
        except ImportError as cause:
            raise SidecarError("gRPC is not installed; run: pip install 'ebpf-sidecar[grpc]'") from cause
        self._server = grpc.server(ThreadPoolExecutor(2, "grpc health"), options=[("grpc.so_reuseport", 0)])
        self._servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        self.port = add_port(self._server, self._endpoint)
        self._server.start()
        threading.Thread(target=self._refresh, name="grpc health", daemon=True).start()

    def _refresh(self) -> None:
        from grpc_health.v1 import health_pb2  # noqa: PLC0415 # as above

        status = health_pb2.HealthCheckResponse
        while True:
            self._servicer.set("", status.NOT_SERVING if self._context.unready() else status.SERVING)
            if self._context.clock.wait(self._stopped, _REFRESH_SECONDS):
                return

    def shutdown(self) -> None:
        """Notify watchers, then close; safe even if `start` failed."""
        self._stopped.set()
        if self._server is None:  # gRPC is not installed
            return
        self._servicer.enter_graceful_shutdown()
        self._server.stop(grace=0.5).wait()


@hookimpl
def register_components() -> Sequence[Factory]:
    """The extension ``health_check``."""
    return [
        Factory.extension(
            "health_check",
            HealthCheck,
            HealthCheckSettings,
            stability=Stability.BETA,
            description="health, readiness and statistics on an endpoint of their own, and grpc.health.v1",
            claims=_claims,
        )
    ]
