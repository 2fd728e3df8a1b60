# SPDX-License-Identifier: Apache-2.0
"""Sends requests over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from ebpf_sidecar.pipeline.payload import Payload, SendError

from .certificates import Reloaded
from .responses import grpc_problem, rejected_in_part, warning_of
from .settings import TlsSettings, split_target

_METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_COMPRESSION = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
_MAX_RECONNECT_MS = 10_000  # gRPC's own limit is two minutes; our retries should find a server that is back
_DETAILS = "grpc-status-details-bin"


class GrpcTarget(Protocol):
    """The settings that the client reads."""

    @property
    def endpoint(self) -> str: ...  # noqa: D102 # as in `OtlpGrpcSettings`, and so are the others
    @property
    def tls(self) -> TlsSettings: ...  # noqa: D102
    @property
    def compression(self) -> str: ...  # noqa: D102
    @property
    def balancer_name(self) -> str: ...  # noqa: D102
    @property
    def timeout(self) -> float: ...  # noqa: D102
    @property
    def is_insecure(self) -> bool: ...  # noqa: D102
    def metadata(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102


@dataclass
class GrpcClient:
    """One channel to the server, a new one when the certificates have changed. Calls may come from several threads.

    ``warn``: called with what a server that takes everything has to say. ``for_good``: codes that this kind of server
    gives for failures that would repeat.
    """

    settings: GrpcTarget
    user_agent: str
    certificates: Reloaded[grpc.ChannelCredentials]
    warn: Callable[[str], None]
    for_good: frozenset[str] = frozenset()
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
            response = call(payload.body, timeout=self.settings.timeout, metadata=self.settings.metadata())
        except grpc.RpcError as cause:
            raise self._problem(cause) from cause
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

    def _problem(self, error: Any) -> SendError:
        """``error``: a `grpc.RpcError` of a call, whose methods gRPC does not declare."""
        trailers = dict(error.trailing_metadata() or ())
        code, message = error.code().name, error.details() or ""
        problem = grpc_problem(code, message, trailers.get(_DETAILS, b""))
        return SendError(str(problem)) if code in self.for_good else problem

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
            ("grpc.lb_policy_name", self.settings.balancer_name),
            ("grpc.max_send_message_length", -1),  # the server's limit counts, see max_request_size
            ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
            *([("grpc.ssl_target_name_override", name)] if name else []),
        ]


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    """The certificates in the files of the settings. Raises `OSError` if one cannot be read."""
    roots, key, chain = (
        Path(path).read_bytes() if path else None for path in (tls.ca_file, tls.key_file, tls.cert_file)
    )
    return grpc.ssl_channel_credentials(roots, key, chain)
