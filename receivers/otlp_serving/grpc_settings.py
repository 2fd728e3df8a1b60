# SPDX-License-Identifier: Apache-2.0
"""Settings of the gRPC server, with the Collector's names."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from ebpf_sidecar.pipeline.endpoint import Endpoint
from ebpf_sidecar.pipeline.settings import Interval, Settings
from ebpf_sidecar.pipeline.tls_settings import ServerTls


class ServerParameters(Settings):
    """How long connections last. Without a setting, gRPC's own default applies."""

    max_connection_idle: Interval | None = None
    """Close a connection without requests after this time."""
    max_connection_age: Interval | None = None
    """Close a connection after this time, so that clients distribute themselves anew."""
    max_connection_age_grace: Interval | None = None
    """How long requests may still take on a connection that is being closed for its age."""
    time: Interval | None = None
    """Ask a silent client for a sign of life after this time (2h)."""
    timeout: Interval | None = None
    """Close the connection if none comes within this time (20s)."""


class EnforcementPolicy(Settings):
    """Which clients ask for signs of life too often; their connections are closed."""

    min_time: Interval | None = None
    """The shortest time between two of their questions (5m)."""
    permit_without_stream: bool = False
    """Whether they may ask without a request."""


class Keepalive(Settings):
    """How long connections last, and how broken ones are noticed."""

    server_parameters: ServerParameters = ServerParameters()
    """What this server does."""
    enforcement_policy: EnforcementPolicy = EnforcementPolicy()
    """What clients may do."""

    def options(self) -> Iterator[tuple[str, int]]:
        """As channel arguments of gRPC."""
        own, theirs = self.server_parameters, self.enforcement_policy
        milliseconds = {
            "grpc.max_connection_idle_ms": own.max_connection_idle,
            "grpc.max_connection_age_ms": own.max_connection_age,
            "grpc.max_connection_age_grace_ms": own.max_connection_age_grace,
            "grpc.keepalive_time_ms": own.time,
            "grpc.keepalive_timeout_ms": own.timeout,
            "grpc.http2.min_ping_interval_without_data_ms": theirs.min_time,
        }
        yield from ((name, _milliseconds(seconds)) for name, seconds in milliseconds.items() if seconds is not None)
        yield "grpc.keepalive_permit_without_calls", int(theirs.permit_without_stream)


def _milliseconds(seconds: float) -> int:
    return min(max(1, round(seconds * 1000)), (1 << 31) - 1)


class GrpcSettings(Settings):
    """OTLP over gRPC."""

    endpoint: Endpoint = "localhost:4317"
    """Where to listen, as ``host:port``. ``0.0.0.0:4317`` is reachable from other machines."""
    tls: ServerTls | None = None
    """Certificates; without them, connections are not encrypted."""
    max_recv_msg_size_mib: int = Field(default=4, ge=1, le=1024)
    """The largest request, in MiB, as sent and decompressed."""
    max_concurrent_streams: int = Field(default=100, ge=1, le=1_000_000)
    """Requests at a time on one connection; a client waits with further ones."""
    keepalive: Keepalive = Keepalive()
    """How long connections last, and how broken ones are noticed."""

    def options(self) -> list[tuple[str, int]]:
        """As channel arguments of gRPC."""
        return [
            ("grpc.so_reuseport", 0),  # a second process on the port would silently get half of the connections
            ("grpc.max_receive_message_length", self.max_recv_msg_size_mib << 20),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            *self.keepalive.options(),
        ]
