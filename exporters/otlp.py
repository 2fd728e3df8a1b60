# SPDX-License-Identifier: Apache-2.0
"""Exporter ``otlp``: sends metrics over OTLP/gRPC to an OpenTelemetry Collector, SkyWalking OAP, or any other server.

Settings are those of the Collector's exporter of this name; what is not written comes from the variables that all
OpenTelemetry exporters know. Batches wait in a queue, are retried while the server is unavailable, and every point is
accounted for.

    exporters:
      otlp: {endpoint: "collector:4317", tls: {insecure: true}}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ebpf_sidecar.exporters.otlp_transport.certificates import Reloaded
from ebpf_sidecar.exporters.otlp_transport.payloads import Payloads
from ebpf_sidecar.exporters.otlp_transport.settings import OtlpGrpcSettings
from ebpf_sidecar.exporters.otlp_transport.user_agent import user_agent
from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.payload import LeftOut, Payload
from ebpf_sidecar.pipeline.plugins import hookimpl

if TYPE_CHECKING:
    from ebpf_sidecar.exporters.otlp_transport.grpc_client import GrpcClient


class OtlpExporter:
    """Sends payloads over one gRPC channel."""

    def __init__(self, settings: OtlpGrpcSettings, context: Context) -> None:
        self._client = _client(settings, context)
        self._payloads = Payloads(settings, context.clock.time_ns())

    def start(self) -> None:
        """Read the certificates. Raises `SidecarError`."""
        self._client.start()

    def encode(self, frames: Frames) -> Iterable[Payload | LeftOut]:
        """The requests of a batch."""
        return self._payloads.of(frames)

    def send(self, payload: Payload) -> None:
        """Send one request. Raises `SendError`."""
        self._client.send(payload)

    def shutdown(self) -> None:
        """Close the channel."""
        self._client.close()


def _client(settings: OtlpGrpcSettings, context: Context) -> GrpcClient:
    # importing gRPC takes 11 MB and 50 ms, which no command and no other exporter should pay
    from ebpf_sidecar.exporters.otlp_transport.grpc_client import GrpcClient, channel_credentials  # noqa: PLC0415

    def unchanged(problem: Exception) -> None:
        context.telemetry.error("certificates", problem)

    certificates = Reloaded(settings.tls, lambda: channel_credentials(settings.tls), context.clock, unchanged)
    return GrpcClient(settings, user_agent(), certificates, context.logger.warning)


@hookimpl
def register_components() -> Sequence[Factory]:
    """The exporter ``otlp``."""
    return [
        Factory.sender(
            "otlp",
            OtlpExporter,
            OtlpGrpcSettings,
            stability=Stability.BETA,
            description="sends to a collector or any other OTLP server over gRPC",
        )
    ]
