# SPDX-License-Identifier: Apache-2.0
"""OTLP over gRPC. gRPC is imported only when a server is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.grpc_listening import add_port

from .answers import Answer, Code
from .grpc_settings import GrpcSettings

SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"
_THREADS = 16
_REQUEST_SECONDS = 10.0
"""For a whole request to arrive, as over HTTP: a thread waits for it."""
_GRACE_SECONDS = 0.5


class GrpcEndpoint:
    """A gRPC server with the method ``Export``."""

    def __init__(self, settings: GrpcSettings, export: Callable[[bytes], Answer], clock: Clock) -> None:
        self._settings, self._export, self._clock = settings, export, clock
        self._pool = ThreadPoolExecutor(_THREADS, "otlp grpc")
        self._server: Any = None
        self._stopped = threading.Event()
        self._arriving: dict[Any, float] = {}
        self.port = 0
        """The port that it listens on."""

    def start(self) -> None:
        """Listen and serve. Raises `SidecarError` if gRPC is not installed or the endpoint is not available."""
        try:
            import grpc  # noqa: PLC0415 # takes 20 MB, and many services use HTTP alone
        except ImportError as cause:
            raise SidecarError("gRPC is not installed; run: pip install 'ebpf-sidecar[grpc]'") from cause
        self._codes = {code.value[0]: code for code in grpc.StatusCode}
        # a stream of requests, so that the handler runs, and can be ended, before the one request has arrived
        method = grpc.stream_unary_rpc_method_handler(self._answer)
        self._server = grpc.server(self._pool, options=self._settings.options())
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Export": method})])
        self.port = add_port(self._server, self._settings.endpoint, self._settings.tls)
        self._server.start()
        threading.Thread(target=self._end_slow_requests, name="otlp grpc slow", daemon=True).start()

    def shutdown(self) -> None:
        """Stop; requests that are being answered have half a second."""
        self._stopped.set()
        if self._server is not None:
            self._server.stop(_GRACE_SECONDS).wait(4 * _GRACE_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, requests: Iterator[bytes], context: Any) -> bytes:
        self._arriving[context] = self._clock.monotonic() + _REQUEST_SECONDS
        try:
            body = next(requests, b"")
        finally:
            del self._arriving[context]
        if not context.is_active():  # its client gave up while it waited for a thread, and will send it again
            return b""
        answer = self._export(body)
        if answer.code is not Code.OK:
            context.set_trailing_metadata([("grpc-status-details-bin", answer.status().SerializeToString())])
            context.abort(self._codes[int(answer.code)], answer.message)
        serialized: bytes = answer.response().SerializeToString()
        return serialized

    def _end_slow_requests(self) -> None:
        while not self._clock.wait(self._stopped, 1.0):
            now = self._clock.monotonic()
            for context, due in list(self._arriving.items()):
                if now >= due:
                    context.cancel()
