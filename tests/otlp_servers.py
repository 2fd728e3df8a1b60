# SPDX-License-Identifier: Apache-2.0
"""OTLP servers that keep what they receive and answer as a test says, and certificates for them."""

import gzip
import socket
import subprocess
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import zstandard
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

DECOMPRESS = {
    "": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body),
}


def answer(rejected=0, message=""):
    """A successful answer; ``rejected`` points were not taken."""
    response = ExportMetricsServiceResponse()
    if rejected or message:
        response.partial_success.rejected_data_points = rejected
        response.partial_success.error_message = message
    return response


def metrics_of(requests):
    """The name and the values (of histograms: the counts) of each metric in the requests, in their order."""
    return [
        (metric.name, [_value(point) for point in getattr(metric, metric.WhichOneof("data")).data_points])
        for request in requests
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def _value(point):
    return getattr(point, point.WhichOneof("value")) if hasattr(point, "as_int") else point.count


@dataclass
class GrpcServer(MetricsServiceServicer):
    """``script``: what to answer, one after the other: a response, or a status code with text and seconds to wait."""

    script: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    metadata: list = field(default_factory=list)
    port: int = 0

    def Export(self, request, context):  # noqa: N802 # gRPC's name
        """Take a request."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        step = self.script.pop(0) if self.script else answer()
        if isinstance(step, ExportMetricsServiceResponse):
            return step
        code, text, wait = step
        if wait is not None:
            details = Any()
            details.Pack(RetryInfo(retry_delay={"seconds": int(wait), "nanos": int(wait % 1 * 1e9)}))
            status = Status(code=code.value[0], message=text, details=[details])
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(code, text)
        return None


@contextmanager
def grpc_server(script=(), credentials=None, options=(), endpoint="127.0.0.1:0"):
    """A `GrpcServer` that listens."""
    taking = GrpcServer(list(script))
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0), *options])
    add_MetricsServiceServicer_to_server(taking, server)
    add = server.add_insecure_port if credentials is None else lambda at: server.add_secure_port(at, credentials)
    taking.port = add(endpoint)
    server.start()
    try:
        yield taking
    finally:
        server.stop(None).wait()


@dataclass
class HttpServer:
    """``script``: what to answer, one after the other: status, headers and body."""

    script: list
    requests: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    paths: list = field(default_factory=list)
    statuses: list = field(default_factory=list)
    port: int = 0

    def take(self, handler):
        """Keep a request and answer it."""
        body = handler.rfile.read(int(handler.headers["content-length"]))
        plain = DECOMPRESS[handler.headers.get("content-encoding", "")](body)
        self.requests.append(ExportMetricsServiceRequest.FromString(plain))
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        self.paths.append(handler.path)
        protobuf = {"content-type": "application/x-protobuf"}
        status, headers, content = self.script.pop(0) if self.script else (200, protobuf, b"")
        self.statuses.append(status)
        handler.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)


@contextmanager
def http_server(script=(), context=None, port=0):
    """An `HttpServer` that listens. ``context``: of TLS."""
    taking, connections = HttpServer(list(script)), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):  # the library's name
            taking.take(self)

        def setup(self):
            super().setup()
            connections.append(self.connection)

        def log_message(self, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    taking.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield taking
    finally:
        server.shutdown()
        thread.join()
        for connection in connections:
            with suppress(OSError):  # the client was first
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()


@dataclass(frozen=True)
class Certificates:
    """An authority, and the certificates that it signed for ``localhost`` and a client."""

    folder: Path

    def file(self, name):
        """The path of ``ca.pem``, ``server.pem``, ``server.key``, ``client.pem`` or ``client.key``."""
        return str(self.folder / name)

    def read(self, name):
        """The content of that file."""
        return (self.folder / name).read_bytes()

    def client(self):
        """The settings ``tls`` of a client that the server knows."""
        files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
        return {setting: self.file(name) for setting, name in files.items()}


def make_certificates(folder):
    """A new authority with certificates, valid for a day."""
    folder.mkdir(exist_ok=True)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)  # ours

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    for name in ("server", "client"):
        openssl(
            "req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
            "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
    return Certificates(folder)
