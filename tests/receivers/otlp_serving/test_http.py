# SPDX-License-Identifier: Apache-2.0
"""OTLP over HTTP, answered as the specification says, whatever a client sends."""

import gzip
import http.client
import json
import zlib
from contextlib import closing

import pytest
import zstandard
from google.protobuf import json_format
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from otlp_receiving import JSON, PATH, PROTOBUF, counted, running
from otlp_requests import add_point, identity_of, one_metric, rows_of
from tls_files import CLIENT, MUTUAL, client_context

from ebpf_sidecar.pipeline.component import Refusal

COMPRESSIONS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress, "identity": bytes}
MOST = 100_000


@pytest.fixture(scope="module")
def receiver():
    """A receiver with small requests."""
    with running(["http"], http={"max_request_body_size": MOST}) as receiver:
        yield receiver


def status_of(answer):
    """The status message in an answer, which has the type of the request."""
    _, headers, body = answer
    if headers["Content-Type"] == JSON:
        return json_format.Parse(body, Status())
    assert PROTOBUF == headers["Content-Type"]
    return Status.FromString(body)


def received(receiver, body, *args, **headers):
    """The frames that arrive with an accepted request."""
    before = len(receiver.sink.frames)
    status, _, answer = receiver.post(body, *args, **headers)

    assert (200, 0) == (status, ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points)
    return receiver.sink.frames[before:]


@pytest.mark.parametrize("encoding", COMPRESSIONS)
@pytest.mark.parametrize("value", [1, 2**62])
def test_a_request_in_each_compression_is_received(receiver, encoding, value):
    """The answer is empty, which means that everything was accepted."""
    body = COMPRESSIONS[encoding](counted(value).SerializeToString())
    [frame] = received(receiver, body, **{"Content-Encoding": encoding})

    assert [value] == frame.values.tolist()


def test_json_is_the_same_request(receiver):
    """Whole numbers as text, enumerations as numbers, and fields that nobody knows yet."""
    request = counted(2**62)
    [expected] = received(receiver, request.SerializeToString())
    written = json_format.MessageToDict(request, use_integers_for_enums=True)
    written["resourceMetrics"][0]["fieldOfTheFuture"] = {"a": [1]}
    status, headers, body = receiver.post(json.dumps(written).encode(), "Application/JSON; charset=utf-8")
    frame = receiver.sink.frames[-1]

    assert (200, JSON, {}) == (status, headers["Content-Type"], json.loads(body))
    assert (identity_of(expected), rows_of(expected)) == (identity_of(frame), rows_of(frame))


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_rejected_points_are_named_in_the_answer(receiver, content_type):
    """The rest is accepted, so the client does not send it again."""
    request, data = one_metric("sum")
    for number in (1, -1, -2):
        add_point(data, {"row": str(number)}, as_int=number)
    body = json_format.MessageToJson(request).encode() if content_type == JSON else request.SerializeToString()
    before = receiver.telemetry.drops["negative_counter"]
    status, _, answer = receiver.post(body, content_type)
    response = ExportMetricsServiceResponse()
    response = json_format.Parse(answer, response) if content_type == JSON else response.FromString(answer)

    assert 200 == status
    assert (2, "data points were rejected (negative_counter: 2)") == (
        response.partial_success.rejected_data_points,
        response.partial_success.error_message,
    )
    assert 2 == receiver.telemetry.drops["negative_counter"] - before


@pytest.mark.parametrize(
    ("content_type", "body"), [(PROTOBUF, b"garbage"), (JSON, b"{"), (JSON, b'{"resourceMetrics": 3}'), (JSON, b"\xff")]
)
def test_what_cannot_be_decoded_is_a_bad_request(receiver, content_type, body):
    """Which the client must not send again."""
    answer = receiver.post(body, content_type)

    assert (400, 3) == (answer[0], status_of(answer).code)
    assert "not an ExportMetricsServiceRequest" in status_of(answer).message
    assert "Retry-After" not in answer[1]


def test_json_that_is_nested_without_end_is_a_bad_request(receiver):
    """The parser's own limit."""
    assert 400 == receiver.post(b"[" * 50_000, JSON)[0]
    assert 400 == receiver.post(b'{"resourceMetrics":[{"x":' * 3000, JSON)[0]


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-protobuf2"])
def test_another_content_type_is_not_supported(receiver, content_type):
    """415 names those that are."""
    status, _, body = receiver.post(b"x", content_type)

    assert (415, True) == (status, PROTOBUF.encode() in body and JSON.encode() in body)


def test_another_compression_is_not_supported(receiver):
    """415 with a status that names those that are."""
    answer = receiver.post(b"x", **{"Content-Encoding": "br"})

    assert (415, 12, 'Content-Encoding "br" is not supported; none, gzip, deflate and zstd are') == (
        answer[0],
        status_of(answer).code,
        status_of(answer).message,
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("change", [lambda body: b"garbage" + body, lambda body: body[:-3]], ids=["garbage", "half"])
def test_a_body_that_is_not_what_its_encoding_says_is_a_bad_request(receiver, encoding, change):
    """Also one that ends too early."""
    body = change(COMPRESSIONS[encoding](counted().SerializeToString()))
    answer = receiver.post(body, **{"Content-Encoding": encoding})

    assert (400, 3) == (answer[0], status_of(answer).code)


@pytest.mark.parametrize("encoding", COMPRESSIONS)
def test_a_request_that_is_too_large_is_refused_before_it_is_unpacked(receiver, encoding):
    """413, as large as it may become: a small body can hold gigabytes."""
    answer = receiver.post(COMPRESSIONS[encoding](bytes(MOST * 200)), **{"Content-Encoding": encoding})

    assert (413, 8) == (answer[0], status_of(answer).code)
    assert "raise max_request_body_size" in status_of(answer).message


def test_the_largest_request_is_received(receiver):
    """To the byte."""
    request = counted()
    request.resource_metrics[0].schema_url = "x" * (MOST - len(request.SerializeToString()) - 6)
    body = request.SerializeToString()

    assert MOST == len(body)
    for encoding, compress in COMPRESSIONS.items():
        [frame] = received(receiver, compress(body), **{"Content-Encoding": encoding})
        assert [1] == frame.values.tolist()


def test_only_post_is_allowed(receiver):
    """405 says so."""
    from http_requests import fetch  # noqa: PLC0415 # used here only

    status, headers, _ = fetch(receiver.servers, PATH)

    assert (405, "POST") == (status, headers["Allow"])


@pytest.mark.parametrize(("retry_after", "seconds"), [(0.0, "1"), (0.2, "1"), (7.5, "8")])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_what_the_pipelines_refuse_is_asked_for_again_later(receiver, content_type, retry_after, seconds):
    """503 with Retry-After, and the exact time in the status; nothing is counted as dropped, since it comes again."""
    request, data = one_metric("sum")
    for number in (1, -1):
        add_point(data, {"row": str(number)}, as_int=number)
    body = json_format.MessageToJson(request).encode() if content_type == JSON else request.SerializeToString()
    receiver.refusals.append(Refusal("memory_limit", retry_after))
    before = dict(receiver.telemetry.drops)
    answer = receiver.post(body, content_type)
    [detail], info = status_of(answer).details, RetryInfo()

    assert (503, 14, seconds) == (answer[0], status_of(answer).code, answer[1]["Retry-After"])
    assert "memory_limit" in status_of(answer).message
    assert detail.Unpack(info)
    assert (retry_after or 1.0) == info.retry_delay.ToTimedelta().total_seconds()
    assert before == dict(receiver.telemetry.drops)


@given(st.binary(max_size=300), st.sampled_from([PROTOBUF, JSON]), st.sampled_from(["", *COMPRESSIONS]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_at_all_fails_the_server(receiver, body, content_type, encoding):
    """It is a request by chance, or a bad one."""
    assert receiver.post(body, content_type, **{"Content-Encoding": encoding})[0] in (200, 400)


def test_tls_with_certificates_on_both_sides():
    """And no request without them."""
    with running(["http"], http={"tls": {name: str(path) for name, path in MUTUAL.items()}}) as receiver:
        address = receiver.servers.bound("127.0.0.1:0")
        for certificate in (None, CLIENT):
            connection = http.client.HTTPSConnection(*address, timeout=10, context=client_context(certificate))
            with closing(connection):
                if certificate is None:
                    with pytest.raises(OSError, match=r"(?i)certificate|reset|pipe|eof"):
                        _post(connection)
                else:
                    assert 200 == _post(connection)

        assert [[1]] == [frame.values.tolist() for frame in receiver.sink.frames]


def _post(connection):
    connection.request("POST", PATH, counted().SerializeToString(), {"Content-Type": PROTOBUF})
    answer = connection.getresponse()
    answer.read()
    return answer.status
