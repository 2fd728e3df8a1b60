# SPDX-License-Identifier: Apache-2.0
"""OTLP over gRPC, answered as the specification says, whatever a client sends."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from otlp_receiving import counted, running
from otlp_requests import add_point, one_metric
from tls_files import CA, CLIENT, MUTUAL
from waiting import until

from ebpf_sidecar.pipeline.component import Refusal
from ebpf_sidecar.pipeline.testing import FakeClock
from ebpf_sidecar.receivers.otlp_serving.grpc_endpoint import SERVICE
from ebpf_sidecar.receivers.otlp_serving.grpc_settings import GrpcSettings

METHOD = f"/{SERVICE}/Export"


@pytest.fixture
def receiver():
    """A receiver with gRPC alone."""
    with running(["grpc"]) as receiver:
        yield receiver


def raw(channel, method=METHOD):
    """The method for bytes."""
    return channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_request_in_each_compression_is_received(receiver, compression):
    """The answer is empty, which means that everything was accepted."""
    answer = receiver.export(counted(2**62), compression=compression)

    assert not answer.HasField("partial_success")
    assert [[2**62]] == [frame.values.tolist() for frame in receiver.sink.frames]


def test_rejected_points_are_named_in_the_answer(receiver):
    """The rest is accepted, so the client does not send it again."""
    request, data = one_metric("sum")
    for number in (1, -1, -2):
        add_point(data, {"row": str(number)}, as_int=number)
    partial = receiver.export(request).partial_success

    assert (2, "data points were rejected (negative_counter: 2)") == (
        partial.rejected_data_points,
        partial.error_message,
    )
    assert {"negative_counter": 2} == dict(receiver.telemetry.drops)
    assert [[1]] == [frame.values.tolist() for frame in receiver.sink.frames]


@pytest.mark.parametrize(("retry_after", "seconds"), [(0.0, 1.0), (7.5, 7.5)])
def test_what_the_pipelines_refuse_is_asked_for_again_later(receiver, retry_after, seconds):
    """UNAVAILABLE with RetryInfo, as the specification wants it."""
    receiver.refusals.append(Refusal("memory_limit", retry_after))
    with pytest.raises(grpc.RpcError) as raised:
        receiver.export(counted())
    trailing = dict(raised.value.trailing_metadata())
    status, info = Status.FromString(trailing["grpc-status-details-bin"]), RetryInfo()

    assert (grpc.StatusCode.UNAVAILABLE, "refused for now: memory_limit") == (
        raised.value.code(),
        raised.value.details(),
    )
    assert (14, True) == (status.code, status.details[0].Unpack(info))
    assert seconds == info.retry_delay.ToTimedelta().total_seconds()
    assert [] == receiver.sink.frames


@pytest.mark.parametrize(
    ("body", "method", "code"),
    [
        (b"garbage", METHOD, grpc.StatusCode.INVALID_ARGUMENT),
        (counted().SerializeToString()[:-2], METHOD, grpc.StatusCode.INVALID_ARGUMENT),
        (bytes(5 << 20), METHOD, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (b"", METHOD.replace("metrics", "trace"), grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["garbage", "half", "huge", "traces"],
)
def test_what_cannot_be_received_is_refused_for_good(receiver, body, method, code):
    """None of these codes asks the client to send it again."""
    with receiver.channel() as channel, pytest.raises(grpc.RpcError) as raised:
        raw(channel, method)(body, timeout=20)

    assert (code, []) == (raised.value.code(), receiver.sink.frames)


def test_a_small_request_that_becomes_huge_is_refused(receiver):
    """GRPC's limit is that of the decompressed message as well."""
    with receiver.channel() as channel, pytest.raises(grpc.RpcError) as raised:
        raw(channel)(bytes(300 << 20), timeout=60, compression=grpc.Compression.Gzip)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == raised.value.code()
    assert not any(name == "retry-delay" for name, _ in raised.value.trailing_metadata())


def test_clients_that_never_send_their_request_hold_nobody_up_for_long():
    """Each takes a thread, for as long as a request may take; then the others are answered."""
    clock, stop = FakeClock(), threading.Event()
    with running(["grpc"], clock=clock) as receiver, receiver.channel() as channel:

        def never():
            stop.wait(60)
            yield from ()

        method = channel.stream_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        slow = [method.future(never(), timeout=60) for _ in range(40)]
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(receiver.export, counted())
            assert until(lambda: clock.advance(1.0) or answer.done(), 30)
        stop.set()

        assert [[1]] == [frame.values.tolist() for frame in receiver.sink.frames]
        assert any(grpc.StatusCode.CANCELLED == each.code() for each in slow if each.done())
        for each in slow:
            each.cancel()


def test_a_client_that_asks_whether_anybody_is_there_is_answered(receiver):
    """By an empty request, which the pipelines never see."""
    with receiver.channel() as channel:
        assert b"" == raw(channel)(b"", timeout=20)

    assert [] == receiver.sink.batches


def test_tls_with_certificates_on_both_sides():
    """And no request without them."""
    with running(["grpc"], grpc={"tls": {name: str(path) for name, path in MUTUAL.items()}}) as receiver:
        certificate, key = (path.read_bytes() for path in CLIENT)
        target = f"localhost:{receiver.receiver.grpc.port}"
        for pair in ((None, None), (key, certificate)):
            credentials = grpc.ssl_channel_credentials(CA.read_bytes(), *pair)
            with grpc.secure_channel(target, credentials) as channel:
                if pair[0] is None:
                    with pytest.raises(grpc.RpcError):
                        MetricsServiceStub(channel).Export(counted(), timeout=5)
                else:
                    MetricsServiceStub(channel).Export(counted(), timeout=20)

        assert [[1]] == [frame.values.tolist() for frame in receiver.sink.frames]


def test_settings_become_channel_arguments():
    """With the Collector's names on one side, and gRPC's on the other."""
    settings = GrpcSettings(
        max_recv_msg_size_mib=8,
        keepalive={
            "server_parameters": {"max_connection_age": "30s", "time": "10s", "timeout": "5s"},
            "enforcement_policy": {"min_time": "1m", "permit_without_stream": True},
        },
    )

    assert {
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": 8 << 20,
        "grpc.max_concurrent_streams": 100,
        "grpc.max_connection_age_ms": 30_000,
        "grpc.keepalive_time_ms": 10_000,
        "grpc.keepalive_timeout_ms": 5_000,
        "grpc.http2.min_ping_interval_without_data_ms": 60_000,
        "grpc.keepalive_permit_without_calls": 1,
    } == dict(settings.options())
