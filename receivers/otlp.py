# SPDX-License-Identifier: Apache-2.0
"""Receives metrics from other agents, SDKs and collectors by OTLP, over gRPC, HTTP or both.

A request is acknowledged once the pipelines have taken it; if they refuse it, the client is asked to send it again
later. Each metric becomes a frame with the resource of its sender. Points that a frame cannot hold are rejected and
counted, such as those of summaries; exemplars are counted and left out; minimum and maximum of histograms, attributes
of scopes and schema URLs are left out. An attribute with an empty text counts as absent. Buckets of exponential
histograms are merged until all points of a metric have one scale.

    receivers:
      otlp: {protocols: {grpc: {endpoint: "0.0.0.0:4317"}, http: {endpoint: "0.0.0.0:4318"}}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from ebpf_sidecar.pipeline.component import Consumer, Factory, Stability
from ebpf_sidecar.pipeline.endpoint import Endpoint, Listening, UrlPath
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.settings import Bytes, Settings
from ebpf_sidecar.pipeline.tls_settings import ServerTls
from ebpf_sidecar.receivers.otlp_serving.export_service import ExportService
from ebpf_sidecar.receivers.otlp_serving.grpc_endpoint import GrpcEndpoint
from ebpf_sidecar.receivers.otlp_serving.grpc_settings import GrpcSettings
from ebpf_sidecar.receivers.otlp_serving.http_endpoint import HttpEndpoint
from ebpf_sidecar.receivers.otlp_serving.metrics import TELEMETRY

_SHUTDOWN_SECONDS = 3.0


class HttpSettings(Settings):
    """OTLP over HTTP, in protobuf or JSON; bodies may be compressed with gzip, deflate or zstd."""

    endpoint: Endpoint = "localhost:4318"
    """Where to listen, as ``host:port``. ``0.0.0.0:4318`` is reachable from other machines. Components that name the
    same endpoint share it."""
    metrics_url_path: UrlPath = "/v1/metrics"
    """The path that clients post to."""
    tls: ServerTls | None = None
    """Certificates; without them, connections are not encrypted."""
    max_request_body_size: Bytes = Field(default=20 << 20, ge=1, le=1 << 30)
    """The largest request, as sent and decompressed."""


class Protocols(Settings):
    """A protocol that is not written is off; one that is written without settings has its defaults."""

    grpc: GrpcSettings | None = None
    """OTLP over gRPC, by default on ``localhost:4317``."""
    http: HttpSettings | None = None
    """OTLP over HTTP, by default on ``localhost:4318``."""

    @model_validator(mode="before")
    @classmethod
    def _written_without_settings(cls, written: Any) -> Any:
        if not isinstance(written, Mapping):
            return written
        return {name: {} if settings is None else settings for name, settings in written.items()}

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if self.grpc is None and self.http is None:
            raise ValueError("no protocol is on; add grpc:, http:, or both")
        return self


class OtlpSettings(Settings):
    """Where to listen."""

    protocols: Protocols
    """The protocols, each with its endpoint."""


def _claims(settings: OtlpSettings) -> Iterator[Listening]:
    grpc, http = settings.protocols.grpc, settings.protocols.http
    if grpc is not None:
        yield Listening(grpc.endpoint, setting=("protocols", "grpc", "endpoint"))
    if http is not None:
        yield Listening(http.endpoint, http.metrics_url_path, ("protocols", "http", "endpoint"))


class OtlpReceiver:
    """Serves the metrics service of OTLP."""

    def __init__(self, settings: OtlpSettings, context: Context) -> None:
        self._settings, self._context = settings.protocols, context
        self._service: ExportService | None = None
        self.grpc: GrpcEndpoint | None = None
        """The gRPC server, once started."""

    def start(self, consumer: Consumer) -> None:
        """Start serving. Raises `SidecarError` if an endpoint cannot be opened."""
        self._service = ExportService(self._context, consumer)
        grpc, http = self._settings.grpc, self._settings.http
        if grpc is not None:
            self.grpc = GrpcEndpoint(grpc, self._service.export, self._context.clock)
            self.grpc.start()
            self._context.logger.info("receiving OTLP over gRPC on %s, port %d", grpc.endpoint, self.grpc.port)
        if http is not None:
            handler = HttpEndpoint(self._service.export, http.max_request_body_size)
            self._context.routes.add(
                http.endpoint, http.metrics_url_path, handler, max_body=http.max_request_body_size, tls=http.tls
            )

    def shutdown(self) -> None:
        """Refuse new requests, answer those that are being processed, and close."""
        if self._service is None:
            return
        self._service.close(_SHUTDOWN_SECONDS)
        if self.grpc is not None:
            self.grpc.shutdown()
        if self._settings.http is not None:
            self._context.routes.remove(self._settings.http.endpoint, self._settings.http.metrics_url_path)
        self._service = None


@hookimpl
def register_components() -> Sequence[Factory]:
    """The receiver ``otlp``."""
    return [
        Factory.receiver(
            "otlp",
            OtlpReceiver,
            OtlpSettings,
            stability=Stability.BETA,
            description="Receives metrics by OTLP over gRPC and HTTP, from agents, SDKs and collectors",
            claims=_claims,
            metrics=lambda _: TELEMETRY,
        )
    ]
