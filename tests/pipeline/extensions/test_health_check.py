# SPDX-License-Identifier: Apache-2.0
"""The extension health_check: status pages elsewhere, and gRPC health checking by the standard protocol."""

import socket
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from http_requests import answering

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.extensions.health_check import GrpcHealth, GrpcSettings, HealthCheck, HealthCheckSettings
from ebpf_sidecar.pipeline.testing import FakeClock, RecordedRoutes, fake_context

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Context:
    """A component's context whose readiness the test decides."""

    def __init__(self, clock):
        self.problems = ["starting"]
        self.clock = clock

    def unready(self):
        return self.problems


@pytest.fixture
def clock():
    """Time that the test moves."""
    return FakeClock()


@pytest.fixture
def server(clock):
    """A gRPC health server on a free port of the loopback."""
    server = GrpcHealth("127.0.0.1:0", Context(clock))
    server.start()
    clock.until_waiting()
    yield server
    server.shutdown()


def asked(port):
    """The health status of the service."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status


def test_grpc_reports_serving_once_the_service_is_ready(server, clock):
    """The answer follows readiness within a second."""
    before = asked(server.port)
    server._context.problems = []
    clock.advance(1.0)
    clock.until_waiting()

    assert [NOT_SERVING, SERVING] == [before, asked(server.port)]


def test_a_watcher_is_notified_when_the_service_stops(server, clock):
    """Watch streams every change, the last being that the service stops."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        changes = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        first = next(changes).status
        server._context.problems = []
        clock.advance(1.0)
        second = next(changes).status
        server.shutdown()
        third = next(changes).status

    assert [NOT_SERVING, SERVING, NOT_SERVING] == [first, second, third]


def test_a_grpc_port_in_use_is_named(clock):
    """The error says which endpoint, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        server = GrpcHealth(endpoint, Context(clock))

        with pytest.raises(SidecarError, match=f'cannot listen on "{endpoint}": address already in use; stop'):
            server.start()
    server.shutdown()


def test_missing_grpc_is_reported_at_the_start_and_the_end_is_quiet(monkeypatch):
    """An error with the repair, and no second one from shutting down what never ran."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    settings, routes = HealthCheckSettings(grpc=GrpcSettings()), RecordedRoutes()
    extension = HealthCheck(settings, fake_context(ComponentKind.EXTENSION, "health_check", routes=routes))
    with pytest.raises(SidecarError, match=r"gRPC is not installed; run: pip install 'ebpf-sidecar\[grpc\]'"):
        extension.start()
    extension.shutdown()
    extension.shutdown()

    assert {} == routes.handlers


def test_http_is_opened_where_configured():
    """The endpoint gets an index of all that is served there, whoever shares it."""
    routes = RecordedRoutes()
    context = fake_context(ComponentKind.EXTENSION, "health_check", routes=routes)
    extension = HealthCheck(HealthCheckSettings(endpoint="127.0.0.1:1"), context)
    extension.start()
    alone = routes.get("/").body
    routes.add("127.0.0.1:1", "/metrics", answering(b"m"))

    assert (b"ebpf-sidecar:\n", b"ebpf-sidecar: /metrics\n") == (alone, routes.get("/").body)
    routes.remove("127.0.0.1:1", "/metrics")
    extension.shutdown()
    assert {} == routes.handlers


def test_only_configured_endpoints_are_opened():
    """Null closes HTTP, and gRPC is only served where it is written."""
    routes = RecordedRoutes()
    extension = HealthCheck(
        HealthCheckSettings(endpoint=None), fake_context(ComponentKind.EXTENSION, "health_check", routes=routes)
    )
    extension.start()
    extension.shutdown()

    assert {} == routes.handlers
    assert "127.0.0.1:19090" == GrpcSettings().endpoint
