# SPDX-License-Identifier: Apache-2.0
"""Exporter ``otlphttp``: sends metrics over OTLP/HTTP, as protobuf, where gRPC does not get through or is too large.

Settings are those of the Collector's exporter of this name; what is not written comes from the variables that all
OpenTelemetry exporters know, and the proxy from ``http_proxy``, ``https_proxy`` and ``no_proxy``. It needs about 10 MB
less memory than ``otlp``.

    exporters:
      otlphttp: {endpoint: "http://collector:4318", compression: gzip}
      otlphttp/prometheus: {metrics_endpoint: "http://prometheus:9090/api/v1/otlp/v1/metrics"}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ebpf_sidecar.exporters.otlp_transport.certificates import Reloaded
from ebpf_sidecar.exporters.otlp_transport.compression import compressor
from ebpf_sidecar.exporters.otlp_transport.payloads import Payloads
from ebpf_sidecar.exporters.otlp_transport.settings import OtlpHttpSettings
from ebpf_sidecar.exporters.otlp_transport.user_agent import user_agent
from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.payload import LeftOut, Payload
from ebpf_sidecar.pipeline.plugins import hookimpl

if TYPE_CHECKING:
    from ebpf_sidecar.exporters.otlp_transport.http_client import HttpClient


class OtlpHttpExporter:
    """Posts payloads to one URL."""

    def __init__(self, settings: OtlpHttpSettings, context: Context) -> None:
        self._client = _client(settings, context)
        self._payloads = Payloads(settings, context.clock.time_ns(), compressor(settings.compression))

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
        """Close the connections."""
        self._client.close()


def _client(settings: OtlpHttpSettings, context: Context) -> HttpClient:
    # only a service that posts needs the HTTP library
    from ebpf_sidecar.exporters.otlp_transport.http_client import HttpClient, connection_pools  # noqa: PLC0415

    def unchanged(problem: Exception) -> None:
        context.telemetry.error("certificates", problem)

    pools = Reloaded(settings.tls, lambda: connection_pools(settings), context.clock, unchanged)
    return HttpClient(settings, user_agent(), pools, context.clock, context.logger.warning)


@hookimpl
def register_components() -> Sequence[Factory]:
    """The exporter ``otlphttp``."""
    return [
        Factory.sender(
            "otlphttp",
            OtlpHttpExporter,
            OtlpHttpSettings,
            stability=Stability.BETA,
            description="sends to a collector or any other OTLP server over HTTP",
        )
    ]
