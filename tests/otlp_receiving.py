# SPDX-License-Identifier: Apache-2.0
"""A running `otlp` receiver for tests, with both protocols on free ports, and clients for it."""

from contextlib import ExitStack, contextmanager

import grpc
from http_requests import ANY, fetch
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from otlp_requests import add_point, one_metric

from ebpf_sidecar.pipeline.clock import SystemClock
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.http.connection_limits import ConnectionLimits
from ebpf_sidecar.pipeline.http.servers import HttpServers
from ebpf_sidecar.pipeline.testing import RecordedTelemetry, Sink, fake_context
from ebpf_sidecar.receivers.otlp import OtlpReceiver, OtlpSettings

PATH = "/v1/metrics"
PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Running:
    """The receiver and what it is connected to. ``refusals``: returned by the first calls of the consumer, one each."""

    def __init__(self, stack, protocols, limits, clock):
        self.servers, self.sink, self.telemetry, self.refusals = (
            HttpServers(limits=limits),
            Sink(),
            RecordedTelemetry(),
            [],
        )
        self.servers.start()
        stack.callback(self.servers.shutdown)
        parts = {"routes": self.servers, "telemetry": self.telemetry, "clock": clock or SystemClock()}
        settings = OtlpSettings(protocols={name: {"endpoint": ANY, **more} for name, more in protocols.items()})
        self.receiver = OtlpReceiver(settings, fake_context(ComponentKind.RECEIVER, "otlp", **parts))
        stack.callback(self.receiver.shutdown)
        self.receiver.start(self.consume)

    def consume(self, frames):
        """What the pipelines do."""
        if self.refusals:
            return self.refusals.pop(0)
        self.sink(frames)
        return None

    def post(self, body, content_type=PROTOBUF, **headers):
        """Status, headers and body of the answer."""
        return fetch(self.servers, PATH, "POST", body, headers={"Content-Type": content_type, **headers})

    def channel(self, **options):
        """A gRPC connection."""
        return grpc.insecure_channel(f"127.0.0.1:{self.receiver.grpc.port}", **options)

    def export(self, request, **options):
        """The answer by gRPC."""
        with self.channel() as channel:
            return MetricsServiceStub(channel).Export(request, timeout=20, **options)


@contextmanager
def running(protocols=("grpc", "http"), *, limits=None, clock=None, **settings):
    """A running receiver; ``settings`` of a protocol by its name."""
    with ExitStack() as stack:
        yield Running(stack, {name: settings.get(name, {}) for name in protocols}, limits or ConnectionLimits(), clock)


def counted(value=1, name="work.done"):
    """A request with one point."""
    request, data = one_metric("sum", name=name)
    add_point(data, {"a": "b"}, as_int=value, start_time_unix_nano=1)
    return request
