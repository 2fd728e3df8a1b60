# SPDX-License-Identifier: Apache-2.0
"""Sends requests over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from ebpf_sidecar.pipeline.payload import Payload

from .certificates import Reloaded
from .responses import grpc_problem, rejected_in_part, warning_of
from .settings import OtlpGrpcSettings, split_target

_METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_COMPRESSION = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
_MAX_RECONNECT_MS = 10_000  # gRPC's own limit is two minutes; our retries should find a server that is back
_DETAILS = "grpc-status-details-bin"


@dataclass
class GrpcClient:
    """One channel to the server, a new one when the certificates have changed. Calls may come from several threads.

    ``warn``: called with what a server that takes everything has to say.
    """

    settings: OtlpGrpcSettings
    user_agent: str
    certificates: Reloaded[grpc.ChannelCredentials]
    warn: Callable[[str], None]
    _channel: grpc.Channel | None = None
    _credentials: grpc.ChannelCredentials | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Read the certificates. Raises `SidecarError` if they cannot be used."""
        if not self.settings.is_insecure:
            self.certificates.first()

    def send(self, payload: Payload) -> None:
        """Deliver within ``timeout``. Raises `SendError`, and `OSError` if the certificates cannot be read."""
        call = self._open().unary_unary(_METHOD, None, ExportMetricsServiceResponse.FromString)
        try:
            response = call(payload.body, timeout=self.settings.timeout, metadata=self._metadata())
        except grpc.RpcError as cause:
            raise _problem(cause) from cause
        if warning := warning_of(response):
            self.warn(warning)
        if rejected := rejected_in_part(response, payload):
            raise rejected

    def close(self) -> None:
        """End calls that are under way, and the connection."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _open(self) -> grpc.Channel:
        credentials = None if self.settings.is_insecure else self.certificates.current()
        with self._lock:
            if self._channel is None or credentials is not self._credentials:
                old, self._channel, self._credentials = self._channel, self._connect(credentials), credentials
                if old is not None:
                    old.close()
            return self._channel

    def _connect(self, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
        target, compression = split_target(self.settings.endpoint)[1], _COMPRESSION[self.settings.compression]
        if credentials is None:
            return grpc.insecure_channel(target, self._options(), compression)
        return grpc.secure_channel(target, credentials, self._options(), compression)

    def _options(self) -> list[tuple[str, Any]]:
        name = self.settings.tls.server_name_override
        return [
            ("grpc.primary_user_agent", self.user_agent),
            ("grpc.max_send_message_length", -1),  # the server's limit counts, see max_request_size
            ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
            *([("grpc.ssl_target_name_override", name)] if name else []),
        ]

    def _metadata(self) -> list[tuple[str, str]]:
        return [(name.lower(), value.get_secret_value()) for name, value in self.settings.headers.items()]


def channel_credentials(settings: OtlpGrpcSettings) -> grpc.ChannelCredentials:
    """The certificates in the files of the settings. Raises `OSError` if one cannot be read."""
    tls = settings.tls
    roots, key, chain = (
        Path(path).read_bytes() if path else None for path in (tls.ca_file, tls.key_file, tls.cert_file)
    )
    return grpc.ssl_channel_credentials(roots, key, chain)


def _problem(error: Any) -> Exception:
    """``error``: a `grpc.RpcError` of a call, whose methods gRPC does not declare."""
    trailers = dict(error.trailing_metadata() or ())
    return grpc_problem(error.code().name, error.details() or "", trailers.get(_DETAILS, b""))
