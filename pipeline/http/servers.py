# SPDX-License-Identifier: Apache-2.0
"""The HTTP servers of the process: components that name the same ``host:port`` share one.

Paths may be added and removed at any time; a started server listens while it has paths.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from ebpf_sidecar.pipeline.endpoint import Address
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.host import Request, Response
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger
from ebpf_sidecar.pipeline.tls_settings import ServerTls

from .pending_responses import BODY_PROBLEM, CONNECTION, Client, PendingResponses
from .refusals import HttpRefusal, RefusalCounter

if TYPE_CHECKING:
    from .connection_limits import ConnectionLimits
    from .listener import Listener

Handler = Callable[[Request], Response]

_PLAIN = "text/plain; charset=utf-8"
_NEGOTIATED = {"accept": "Content-Type", "accept-encoding": "Content-Encoding"}
"""Request headers with many equivalent values, and the response header that shows the result."""
_AGAIN = {"Retry-After": "5"}


class HttpServers:
    """All servers; thread-safe.

    ``health_paths`` are served even if clients occupy all connections or too much
    memory. ``limits`` are those of each server.
    """

    def __init__(
        self,
        logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
        *,
        ledger: Ledger | None = None,
        health_paths: Collection[str] = (),
        limits: ConnectionLimits | None = None,
        pending: PendingResponses | None = None,
    ) -> None:
        self._logger = logger or logging.getLogger(__name__)
        self._refusals = RefusalCounter(ledger or Ledger(), self._logger)
        self._health_paths, self._limits, self._pending = frozenset(health_paths), limits, pending or PendingResponses()
        self._lock = threading.RLock()
        self._applications: dict[Address, EndpointApplication] = {}
        self._listeners: dict[Address, Listener] = {}
        self._started = False

    def add(
        self, endpoint: str, path: str, handler: Handler, *, max_body: int = 0, tls: ServerTls | None = None
    ) -> None:
        """Serve ``path`` on ``endpoint``, immediately or after `start`; see `Routes.add`.

        Raises `SidecarError` if the path is taken, if the endpoint has other TLS settings, or if the servers are
        started and the port cannot be bound.
        """
        address = _address(endpoint)
        with self._lock:
            application = self._applications.get(address) or EndpointApplication(
                self._logger, self._pending, self._health_paths, self._refuse(address), tls
            )
            if application.tls != tls:
                raise SidecarError(f'"{endpoint}" has other TLS settings; give all components on it the same')
            if path in application.handlers:
                raise SidecarError(f'"{path}" on "{endpoint}" is taken; choose another path or endpoint')
            if self._started and address not in self._listeners:
                self._listeners[address] = self._listen(address, application)
            application.max_bodies = {**application.max_bodies, path: max_body}
            application.handlers = {**application.handlers, path: handler}
            self._applications[address] = application

    def remove(self, endpoint: str, path: str) -> None:
        """Stop serving ``path``; the server closes with its last path."""
        address = _address(endpoint)
        with self._lock:
            application = self._applications.get(address)
            if application is None:
                return
            application.handlers = {kept: handler for kept, handler in application.handlers.items() if kept != path}
            if application.handlers:
                return
            del self._applications[address]
            listener = self._listeners.pop(address, None)
        if listener is not None:
            listener.close()

    def start(self) -> None:
        """Listen on every endpoint. Raises `SidecarError`, in which case it listens on none."""
        with self._lock:
            try:
                for address, application in self._applications.items():
                    if address not in self._listeners:
                        self._listeners[address] = self._listen(address, application)
            except SidecarError:
                self.shutdown()
                raise
            self._started = True

    def shutdown(self) -> None:
        """Finish pending responses, then close everything, within a second. Paths are kept for another `start`."""
        with self._lock:
            listeners, self._listeners = self._listeners, {}
            self._started = False
        closing = [threading.Thread(target=listener.close) for listener in listeners.values()]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    def bound(self, endpoint: str) -> tuple[str, int]:
        """The host and port that ``endpoint`` is bound to (port 0: any free one). Raises KeyError if not served."""
        return self._listeners[_address(endpoint)].address

    def failures(self, endpoint: str) -> Mapping[str, int]:
        """The number of requests on ``endpoint`` that raised an exception, by path."""
        return self._applications[_address(endpoint)].failures

    def refused(self, endpoint: str, reason: HttpRefusal) -> int:
        """The number of requests and connections on ``endpoint`` that were refused or dropped for this reason."""
        return self._refusals.count(str(_address(endpoint)), reason)

    def _refuse(self, address: Address) -> Callable[[HttpRefusal], None]:
        return partial(self._refusals.add, str(address))

    def _listen(self, address: Address, application: EndpointApplication) -> Listener:
        from .connection_limits import ConnectionLimits  # noqa: PLC0415 # as above
        from .listener import Listener  # noqa: PLC0415 # a service without endpoints loads no web server

        limits = self._limits or ConnectionLimits()
        tls = None if application.tls is None else application.tls.context()  # before the port is opened
        listener = Listener(
            address.listen(),
            application,
            refuse=self._refuse(address),
            health_paths=self._health_paths,
            limits=limits,
            max_body=lambda path: application.max_bodies.get(path, 0),
            tls=tls,
        )
        if not address.port:  # chosen by the kernel, and logged nowhere else
            self._logger.info('"%s" is served on port %d', address, listener.address[1])
        return listener


def _address(endpoint: str) -> Address:
    try:
        return Address.parse(endpoint)
    except ValueError as cause:
        raise SidecarError(str(cause)) from cause


class EndpointApplication:
    """The WSGI application of one server: a table of paths, replaced as a whole when it changes."""

    def __init__(
        self,
        logger: logging.Logger | logging.LoggerAdapter[Any],
        pending: PendingResponses,
        health_paths: Collection[str],
        refuse: Callable[[HttpRefusal], None],
        tls: ServerTls | None = None,
    ) -> None:
        self.handlers: Mapping[str, Handler] = {}
        self.max_bodies: Mapping[str, int] = {}
        self.tls = tls
        self.failures: Counter[str] = Counter()
        """Requests that raised an exception, by path."""
        self._logger, self._pending, self._health_paths, self._refuse = logger, pending, health_paths, refuse

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request, connection = _request(environ), cast("Client", environ[CONNECTION])
        if connection.reserve and request.path not in self._health_paths:
            self._refuse(HttpRefusal.CONNECTION_LIMIT)
            response = _text_response(
                HTTPStatus.SERVICE_UNAVAILABLE, "all connections are in use; try again later", _AGAIN
            )
        else:
            response = self._answer(request, environ["wsgi.input"])
        sent = b"" if request.method == "HEAD" else response.body
        answer = self._pending.begin(sent, connection.give_up, self._kind(request, response))
        if answer is None:
            self._refuse(HttpRefusal.BYTES_UNDER_WAY)
            text = "slow clients hold too many unread responses; try again later"
            response = _text_response(HTTPStatus.SERVICE_UNAVAILABLE, text, _AGAIN)
            answer = self._pending.begin(response.body, connection.give_up)
        length = len(response.body) if request.method == "HEAD" or answer is None else answer.size
        headers = {**response.headers, "Content-Length": str(length)}
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(headers.items()))
        # passed as a file, so that the page is sent from this one copy to any number of slow scrapers
        body: Iterable[bytes] = environ["wsgi.file_wrapper"](answer)
        return body

    def _kind(self, request: Request, response: Response) -> Hashable:
        """The cache key of a response by the rules for shared caches (RFC 9111); None if it cannot be shared."""
        varies = response.headers.get("Vary", "*").lower().replace(" ", "").split(",")
        if "*" in varies or "authorization" in request.headers:
            return None
        depends = tuple(
            response.headers.get(_NEGOTIATED[name]) if name in _NEGOTIATED else request.headers.get(name)
            for name in varies
        )
        return (self, request.path, tuple(request.query.items()), response.status, depends)

    def _answer(self, request: Request, body: IO[bytes]) -> Response:
        request = replace(request, served=tuple(sorted(self.handlers)))
        handler = self.handlers.get(request.path, index if request.path == "/" else None)
        if handler is None:
            known = " ".join(request.served)
            return _text_response(
                HTTPStatus.NOT_FOUND, f'"{_printable(request.path)}" is not served here; these are: {known}'
            )
        allowed = ("POST",) if self.max_bodies.get(request.path) else ("GET", "HEAD")
        if request.method not in allowed:
            text, names = " or ".join(allowed), ", ".join(allowed)
            return _text_response(HTTPStatus.METHOD_NOT_ALLOWED, f"use {text}", {"Allow": names})
        if self.max_bodies.get(request.path) and request.body_problem is None:
            request = replace(request, body=body.read())
        try:
            response = handler(request)
            HTTPStatus(response.status)  # ValueError if it is not a status
        except Exception as cause:  # noqa: BLE001 # a handler's bug must not close the connection without a response
            return self._failed(request.path, cause)
        return response

    def _failed(self, path: str, cause: Exception) -> Response:
        self.failures[path] += 1
        if self.failures[path] == 1:
            self._logger.error('answering "%s" failed; further failures are only counted', path, exc_info=cause)
        return _text_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the log")


def index(request: Request) -> Response:
    """The response for ``/``: what is served on the endpoint."""
    return _text_response(HTTPStatus.OK, " ".join(["ebpf-sidecar:", *(path for path in request.served if path != "/")]))


def _text_response(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(f"{text}\n".encode(), status, {"Content-Type": _PLAIN, **(headers or {})})


def _printable(path: str) -> str:
    return path[:200].encode("ascii", "backslashreplace").decode()


def _request(environ: Mapping[str, Any]) -> Request:
    headers = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    if content_type := environ.get("CONTENT_TYPE"):
        headers["content-type"] = content_type
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    path, problem = environ["PATH_INFO"] or "/", environ[BODY_PROBLEM]
    return Request(environ["REQUEST_METHOD"], path, headers, query, body_problem=problem)
