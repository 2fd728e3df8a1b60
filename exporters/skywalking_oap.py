# SPDX-License-Identifier: Apache-2.0
"""Exporter ``skywalking_oap``: sends to SkyWalking's OAP over OTLP/gRPC, in the form in which its rules count right.

Counters and histograms are sent as deltas, each container as a service instance (``container@pod``), durations in
milliseconds, attributes without dots, processes and devices added up unless asked for, and few points per request.
What OAP has refused may be counted there in part, so it is not sent again; a request that timed out is, and counts as
possibly doubled. Rules, dashboards and alarms for OAP are in ``deploy/skywalking/``.

    exporters:
      skywalking_oap: {endpoint: "oap:11800", tls: {insecure: true}, cluster: showcase, pod_name: "${env:POD_NAME}"}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ebpf_sidecar.exporters.otlp_encoding.encoder import Encoder
from ebpf_sidecar.exporters.otlp_encoding.request import RequestLimits
from ebpf_sidecar.exporters.otlp_transport.certificates import Reloaded
from ebpf_sidecar.exporters.otlp_transport.user_agent import user_agent
from ebpf_sidecar.exporters.skywalking.identity import RESOURCE
from ebpf_sidecar.exporters.skywalking.settings import OapSettings
from ebpf_sidecar.exporters.skywalking.shaping import Shaping
from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.deltas import Deltas
from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.metric_info import MetricInfo
from ebpf_sidecar.pipeline.payload import LeftOut, Payload, SendError
from ebpf_sidecar.pipeline.plugins import hookimpl

if TYPE_CHECKING:
    from ebpf_sidecar.exporters.otlp_transport.grpc_client import GrpcClient

_MAX_POINTS = 1_000
"""Of one metric and instance in a request: OAP merges them in quadratic time (1,000: 0.02 s, 4,000: 1.5 s)."""
_FOR_GOOD = frozenset({"UNKNOWN", "CANCELLED"})
"""After UNKNOWN, what stood before the mistake is counted already; 10.1 cancels requests above its limit."""
_TIMED_OUT = "DEADLINE_EXCEEDED"
_DOUBLED = MetricInfo(
    "ebpf_sidecar.exporter.possibly_doubled_metric_points",
    Kind.COUNTER,
    "{point}",
    "Data points of requests that timed out and were sent again, so that the server may have counted them twice",
    ("component",),
)


class OapExporter:
    """Shapes, encodes and sends."""

    def __init__(self, settings: OapSettings, context: Context) -> None:
        self._client = _client(settings, context)
        self._doubled = 0
        self._deltas = Deltas(context.clock.time_ns())
        self._shaping = Shaping(settings)
        self._encoder = Encoder(RequestLimits(settings.max_request_size, _MAX_POINTS), RESOURCE)
        context.telemetry.count(_DOUBLED.name, _DOUBLED.unit, _DOUBLED.description, lambda: self._doubled)

    def start(self) -> None:
        """Read the certificates. Raises `SidecarError`."""
        self._client.start()

    def encode(self, frames: Frames) -> Iterable[Payload | LeftOut]:
        """The requests of a batch, and what is in none of them."""
        deltas, unknown = self._deltas.of(frames)
        yield LeftOut(unknown, "start_unknown", lost=True)
        shaped: list[Frame] = []
        for part in self._shaped(deltas):
            if isinstance(part, Frame):
                shaped.append(part)
            else:
                yield part
        for body, points in self._encoder.requests(shaped):
            yield Payload(body, points)

    def _shaped(self, deltas: Sequence[Frame]) -> Iterator[Frame | LeftOut]:
        for frame in deltas:
            yield from self._shaping.frames(frame)

    def send(self, payload: Payload) -> None:
        """Send one request. Raises `SendError`."""
        try:
            self._client.send(payload)
        except SendError as problem:
            if problem.retry and str(problem).startswith(_TIMED_OUT):
                self._doubled += payload.points
            raise

    def shutdown(self) -> None:
        """Close the channel."""
        self._client.close()


def _client(settings: OapSettings, context: Context) -> GrpcClient:
    # importing gRPC takes 11 MB and 50 ms, which no command and no other exporter should pay
    from ebpf_sidecar.exporters.otlp_transport.grpc_client import GrpcClient, channel_credentials  # noqa: PLC0415

    def unchanged(problem: Exception) -> None:
        context.telemetry.error("certificates", problem)

    certificates = Reloaded(settings.tls, lambda: channel_credentials(settings.tls), context.clock, unchanged)
    return GrpcClient(settings, user_agent(), certificates, context.logger.warning, _FOR_GOOD)


def _metrics(_folders: Sequence[Path]) -> Iterable[MetricInfo]:
    return (_DOUBLED,)


@hookimpl
def register_components() -> Sequence[Factory]:
    """The exporter ``skywalking_oap``."""
    return [
        Factory.sender(
            "skywalking_oap",
            OapExporter,
            OapSettings,
            stability=Stability.BETA,
            description="sends to SkyWalking's OAP in the form in which its rules count right",
            metrics=_metrics,
        )
    ]
