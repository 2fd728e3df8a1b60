# SPDX-License-Identifier: Apache-2.0
"""The receiver otlp: what it listens on, what it imports, and how it stops."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from otlp_receiving import PATH, PROTOBUF, counted, running
from otlp_requests import add_point, one_metric
from pydantic import ValidationError
from waiting import until

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.endpoint import Listening
from ebpf_sidecar.pipeline.errors import ConfigError, SidecarError
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.testing import RecordedRoutes, Sink, fake_context
from ebpf_sidecar.receivers.otlp import OtlpReceiver, OtlpSettings, register_components

CONFIG = """
receivers:
  otlp: {{protocols: {protocols}}}
exporters:
  prometheus: {{endpoint: "127.0.0.1:18080"}}
extensions:
  health_check: {{grpc: {{endpoint: "127.0.0.1:19090"}}}}
service:
  extensions: [health_check]
  pipelines: {{metrics: {{receivers: [otlp], exporters: [prometheus]}}}}
"""
SHARED = {"metrics_url_path": "/in", "endpoint": "127.0.0.1:18080"}


def config(protocols):
    """The configuration of a service."""
    return load([InlineSource(CONFIG.format(protocols=protocols).encode())], [], Plugins(), {})


def claims(**protocols):
    """What the receiver claims."""
    [factory] = register_components()
    return list(factory.claims(OtlpSettings(protocols=protocols)))


def test_a_protocol_that_is_only_named_has_the_collectors_defaults():
    """As people write it for the Collector: ``protocols: {grpc:, http:}``."""
    settings = OtlpSettings(protocols={"grpc": None, "http": None}).protocols

    assert ("localhost:4317", 4, None) == (
        settings.grpc.endpoint,
        settings.grpc.max_recv_msg_size_mib,
        settings.grpc.tls,
    )
    assert ("localhost:4318", PATH, 20 << 20) == (
        settings.http.endpoint,
        settings.http.metrics_url_path,
        settings.http.max_request_body_size,
    )


def test_a_protocol_that_is_not_named_is_off():
    """So nothing listens that nobody asked for."""
    assert [Listening("localhost:4317", setting=("protocols", "grpc", "endpoint"))] == claims(grpc=None)
    assert [Listening("127.0.0.1:18080", "/in", ("protocols", "http", "endpoint"))] == claims(http=SHARED)


@pytest.mark.parametrize("protocols", ["{}", "{grcp: {}}", "{http: {metrics_url_path: metrics}}", "{grpc: {tls: {}}}"])
def test_settings_that_cannot_be_meant_are_refused(protocols):
    """Before anything starts."""
    with pytest.raises(ConfigError):
        config(protocols)


def test_without_a_protocol_the_error_says_what_to_add():
    """There is nothing to listen on."""
    with pytest.raises(ValidationError, match="no protocol is on; add grpc:, http:, or both"):
        OtlpSettings(protocols={})


@pytest.mark.parametrize(
    ("protocols", "where"),
    [
        ('{grpc: {endpoint: "127.0.0.1:18080"}}', "receivers::otlp::protocols::grpc::endpoint"),
        ('{grpc: {endpoint: "127.0.0.1:19090"}}', "protocols::grpc::endpoint|extensions::health_check"),
        (
            '{http: {endpoint: "127.0.0.1:18080", metrics_url_path: /metrics}}',
            "receivers::otlp::protocols::http::endpoint",
        ),
        ('{http: {endpoint: "127.0.0.1:5000"}, grpc: {endpoint: "127.0.0.1:5000"}}', "receivers::otlp::protocols"),
    ],
)
def test_two_components_on_one_port_are_found_by_check(protocols, where):
    """With the place in the file."""
    with pytest.raises(ConfigError, match=where):
        config(protocols)


def test_http_shares_an_endpoint_with_other_components():
    """One port for what is sent and what is scraped."""
    assert config('{http: {endpoint: "127.0.0.1:18080"}}')


def test_grpc_is_imported_only_where_it_is_configured():
    """It takes 20 MB."""
    program = """if True:
        import sys
        from ebpf_sidecar.pipeline.component import ComponentKind
        from ebpf_sidecar.pipeline.testing import Sink, fake_context
        from ebpf_sidecar.receivers.otlp import OtlpReceiver, OtlpSettings
        settings = OtlpSettings(protocols={"http": {"endpoint": "127.0.0.1:0"}})
        receiver = OtlpReceiver(settings, fake_context(ComponentKind.RECEIVER, "otlp"))
        receiver.start(Sink())
        receiver.shutdown()
        print("grpc" in sys.modules)"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "False\n" == printed.stdout


def test_without_grpc_the_start_says_so(monkeypatch):
    """An error with the repair."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    receiver = OtlpReceiver(OtlpSettings(protocols={"grpc": {}}), fake_context(ComponentKind.RECEIVER, "otlp"))
    with pytest.raises(SidecarError, match=r"gRPC is not installed; run: pip install 'ebpf-sidecar\[grpc\]'"):
        receiver.start(Sink())
    receiver.shutdown()


def test_both_protocols_know_the_same_rows():
    """A sender may change the protocol."""
    with running() as receiver:
        receiver.export(counted())
        receiver.post(counted().SerializeToString())
        one, two = receiver.sink.frames

    assert one.rows is two.rows


def test_what_frames_cannot_hold_is_counted():
    """Exemplars and empty attributes, in the receiver's own metrics."""
    request, data = one_metric("sum")
    point = add_point(data, {"a": "", "b": "c"}, as_int=1)
    point.exemplars.add(as_double=1.0)
    with running(["http"]) as receiver:
        receiver.post(request.SerializeToString())
        counters = {name: read() for name, read in receiver.telemetry.counters.items()}

    assert {"ebpf_sidecar.receiver.dropped_exemplars": 1, "ebpf_sidecar.receiver.empty_attributes": 1} == counters


def test_after_the_shutdown_began_clients_are_told_to_try_again():
    """While what is being processed is finished."""
    entered, leave = threading.Event(), threading.Event()
    routes, passed = RecordedRoutes(), []

    def slow(frames):
        entered.set()
        leave.wait(10)
        passed.append(frames)

    context = fake_context(ComponentKind.RECEIVER, "otlp", routes=routes)
    receiver = OtlpReceiver(OtlpSettings(protocols={"http": {}}), context)
    receiver.start(slow)
    [handler] = routes.handlers.values()
    request = Request("POST", PATH, {"content-type": PROTOBUF}, body=counted().SerializeToString())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(handler, request)
        entered.wait(10)
        stopping = pool.submit(receiver.shutdown)
        assert until(lambda: 503 == handler(request).status, 5)
        assert (False, False) == (first.done(), stopping.done())
        leave.set()

    assert (200, 1, {}) == (first.result().status, len(passed), routes.handlers)
    assert "1" == handler(request).headers["Retry-After"]


class Senders:
    """Clients of both protocols that send points with values of their own until told to stop."""

    def __init__(self, receiver, pool):
        self._receiver, self._stop, self.acknowledged, self.unanswered = receiver, threading.Event(), [], []
        self._sending = [pool.submit(self._send, worker) for worker in range(6)]

    def _send(self, worker):
        for value in range(worker * 1_000_000, (worker + 1) * 1_000_000):
            if self._stop.is_set():
                return
            try:
                if self._post(value) if worker % 2 else self._receiver.export(counted(value)):
                    self.acknowledged.append(value)
            except (OSError, KeyError, grpc.RpcError):
                self.unanswered.append(value)

    def _post(self, value):
        return 200 == self._receiver.post(counted(value).SerializeToString())[0]

    def stop(self):
        """Wait for their last answers."""
        self._stop.set()
        for each in self._sending:
            each.result(30)


def test_no_acknowledged_point_is_lost_when_the_receiver_stops_under_load():
    """Nor is one passed on after the shutdown, or after its client was asked to send it again."""
    with running() as receiver, ThreadPoolExecutor(6) as pool:
        senders = Senders(receiver, pool)
        try:
            assert until(lambda: len(senders.acknowledged) > 200, 30)
            receiver.receiver.shutdown()
            passed = values(receiver)
        finally:
            senders.stop()

        assert passed == values(receiver)
        assert len(passed) == len(set(passed))
        assert set(senders.acknowledged) <= set(passed) <= {*senders.acknowledged, *senders.unanswered}


def values(receiver):
    """All that were passed on."""
    return [value for frame in receiver.sink.frames for value in frame.values.tolist()]


def test_a_port_in_use_keeps_the_service_from_starting():
    """For either protocol, and what was opened is closed again."""
    with running() as receiver:
        http = "{}:{}".format(*receiver.servers.bound("127.0.0.1:0"))
        for protocols in (
            {"grpc": {"endpoint": f"127.0.0.1:{receiver.receiver.grpc.port}"}},
            {"grpc": {"endpoint": http}},
        ):
            other = OtlpReceiver(OtlpSettings(protocols=protocols), fake_context(ComponentKind.RECEIVER, "otlp"))
            with pytest.raises(SidecarError, match="address already in use"):
                other.start(Sink())
            other.shutdown()
