# SPDX-License-Identifier: Apache-2.0
"""Sends requests over HTTP."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.payload import Payload, SendError

from .certificates import Reloaded
from .compression import ENCODING
from .responses import http_problem, http_response, rejected_in_part, warning_of
from .settings import OtlpHttpSettings, TlsSettings

_MAX_ANSWER = 64 << 10  # bytes of an answer that are read


@dataclass
class HttpClient:
    """Connections to the server, kept open between requests. Calls may come from several threads."""

    settings: OtlpHttpSettings
    user_agent: str
    connections: Reloaded[urllib3.PoolManager]
    clock: Clock
    warn: Callable[[str], None]

    def start(self) -> None:
        """Read the certificates. Raises `SidecarError` if they cannot be used."""
        self.connections.first()

    def send(self, payload: Payload) -> None:
        """Deliver within ``timeout``. Raises `SendError`, and `OSError` if the certificates cannot be read."""
        status, headers, body = self._post(payload)
        if not 200 <= status < 300:
            raise http_problem(status, headers, body, self.clock.time_ns() / 1e9)
        response = http_response(body, headers.get("content-type", ""))
        if warning := warning_of(response):
            self.warn(warning)
        if rejected := rejected_in_part(response, payload):
            raise rejected

    def close(self) -> None:
        """End connections that are not in use."""
        pools = self.connections.last()
        if pools is not None:
            pools.clear()

    def _post(self, payload: Payload) -> tuple[int, Mapping[str, str], bytes]:
        seconds = self.settings.timeout
        try:
            with _interrupted_after(seconds):
                answer = self.connections.current().urlopen(
                    "POST", self.settings.url, body=payload.body, headers=self._headers(payload),
                    timeout=urllib3.Timeout(seconds), retries=False, redirect=False, preload_content=False,
                )  # fmt: skip
                body = answer.read(_MAX_ANSWER, decode_content=True)
                if answer.read(1):  # more than we want: the connection cannot be used again
                    answer.close()
                answer.release_conn()
        except urllib3.exceptions.HTTPError as cause:
            raise SendError(f"{self.settings.url}: {_reason(cause)}", retry=True) from cause
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, body

    def _headers(self, payload: Payload) -> dict[str, str]:
        encoding = {ENCODING: payload.note[ENCODING]} if ENCODING in payload.note else {}
        own = {name: value.get_secret_value() for name, value in self.settings.headers.items()}
        return {"content-type": "application/x-protobuf", "user-agent": self.user_agent, **encoding, **own}


def connection_pools(settings: OtlpHttpSettings) -> urllib3.PoolManager:
    """Connections with the certificates in the files of the settings, through the proxy that the environment names.

    Raises `OSError` and ValueError (`ssl.SSLError` is one of them) if the files cannot be used.
    """
    tls, url = settings.tls, urlsplit(settings.url)
    options: dict[str, Any] = {"maxsize": settings.sending_queue.num_consumers}
    if url.scheme == "https":
        options["ssl_context"] = _context(tls)
        if tls.server_name_override:
            options |= {"server_hostname": tls.server_name_override, "assert_hostname": tls.server_name_override}
    proxy = _proxy(url.scheme, url.hostname or "")
    pools = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    pools.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pools


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file or None)
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _proxy(scheme: str, host: str) -> str:
    return "" if proxy_bypass(host) else getproxies().get(scheme, "")


def _reason(error: Exception) -> str:
    """The innermost reason that urllib3 gives, without the object that it names."""
    reason = getattr(error, "reason", None) or (error.args[-1] if error.args else error)
    return str(reason if not isinstance(reason, Exception) else reason.args[-1] if reason.args else reason)


_attempt = threading.local()


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """The thread's requests are cut off after ``seconds``: urllib3's time-out is that of a single read, which a server
    that sends a byte a second never reaches."""
    used: list[HTTPConnection] = []
    _attempt.used = used
    timer = threading.Timer(seconds, _cut, [used])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connections: Sequence[HTTPConnection]) -> None:
    for connection in connections:
        with suppress(OSError, TypeError):  # not connected, or closed in the meantime
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # also below TLS


class _HttpConnection(HTTPConnection):
    def request(self, *args: Any, **more: Any) -> None:
        _attempt.used.append(self)
        super().request(*args, **more)


class _HttpsConnection(HTTPSConnection):
    def request(self, *args: Any, **more: Any) -> None:
        _attempt.used.append(self)
        super().request(*args, **more)


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
