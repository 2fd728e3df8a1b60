# SPDX-License-Identifier: Apache-2.0
"""The exporter ``otlp`` against servers that answer whatever the specification allows."""

import time

import grpc
import pytest
from grpc import StatusCode
from otlp_senders import send, sender
from otlp_servers import answer, grpc_server, make_certificates, metrics_of

from ebpf_sidecar.pipeline import SendError, SidecarError
from ebpf_sidecar.pipeline.testing import NOON, frame

SECOND = 10**9


def problem(script, **settings):
    """How the exporter reports that answer."""
    with (
        grpc_server([script]) as server,
        sender("otlp", endpoint=f"http://127.0.0.1:{server.port}", **settings) as made,
        pytest.raises(SendError) as raised,
    ):
        send(made, frame("work", [1, 2, 3]))
    return raised.value


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_is_exported_arrives(compression):
    """With the headers of the settings and our name."""
    with grpc_server() as server:
        endpoint = f"127.0.0.1:{server.port}"
        settings = {"tls": {"insecure": True}, "headers": {"Authorization": "Bearer x"}, "compression": compression}
        with sender("otlp", endpoint=endpoint, **settings) as made:
            send(made, frame("work", [1, 2, 3]))

    assert [("work", [1, 2, 3])] == metrics_of(server.requests)
    [metadata] = server.metadata
    assert "Bearer x" == metadata["authorization"]
    assert metadata["user-agent"].startswith("ebpf-sidecar/")


def test_a_batch_beyond_the_largest_request_is_split():
    """A server refuses messages above its limit."""
    rows = [{"container.id": f"{number:0100d}"} for number in range(100)]
    limit = ("grpc.max_receive_message_length", 4096)
    with (
        grpc_server(options=[limit]) as server,
        sender("otlp", endpoint=f"http://127.0.0.1:{server.port}", max_request_size=4096) as made,
    ):
        send(made, frame("work", list(range(100)), rows))

    assert 3 < len(server.requests)
    assert list(range(100)) == [value for _, values in metrics_of(server.requests) for value in values]


def test_deltas_continue_from_request_to_request():
    """Each says what was counted since the one before."""
    with (
        grpc_server() as server,
        sender("otlp", endpoint=f"http://127.0.0.1:{server.port}", temporality="delta") as made,
    ):
        for second, value in ((1, 5), (2, 7), (3, 7)):
            when = {"time_unix_nano": NOON + second * SECOND, "start_time_unix_nano": NOON}
            send(made, frame("work", [value], **when))

    assert [("work", [5]), ("work", [2]), ("work", [0])] == metrics_of(server.requests)


@pytest.mark.parametrize(
    ("code", "wait", "retry", "after"),
    [
        (StatusCode.UNAVAILABLE, None, True, 0.0),
        (StatusCode.UNAVAILABLE, 2.5, True, 2.5),
        (StatusCode.CANCELLED, None, True, 0.0),
        (StatusCode.DEADLINE_EXCEEDED, None, True, 0.0),
        (StatusCode.ABORTED, None, True, 0.0),
        (StatusCode.OUT_OF_RANGE, None, True, 0.0),
        (StatusCode.DATA_LOSS, None, True, 0.0),
        (StatusCode.RESOURCE_EXHAUSTED, 7, True, 7.0),
        (StatusCode.RESOURCE_EXHAUSTED, None, False, 0.0),
        (StatusCode.UNKNOWN, None, False, 0.0),
        (StatusCode.INVALID_ARGUMENT, None, False, 0.0),
        (StatusCode.NOT_FOUND, None, False, 0.0),
        (StatusCode.ALREADY_EXISTS, None, False, 0.0),
        (StatusCode.PERMISSION_DENIED, None, False, 0.0),
        (StatusCode.FAILED_PRECONDITION, None, False, 0.0),
        (StatusCode.UNIMPLEMENTED, None, False, 0.0),
        (StatusCode.INTERNAL, None, False, 0.0),
        (StatusCode.UNAUTHENTICATED, None, False, 0.0),
    ],
    ids=str,
)
def test_codes_are_retried_as_the_specification_says(code, wait, retry, after):
    """And as late as the server asks."""
    found = problem((code, "as it is", wait))

    assert (retry, after) == (found.retry, found.retry_after)
    assert f"{code.name}: as it is" == str(found)


def test_points_that_the_server_rejects_are_counted_and_not_sent_again():
    """The others are delivered."""
    found = problem(answer(rejected=2, message="too old"))

    assert ({"partial_success": 2}, None) == (found.rejected, found.remaining)
    assert "the server rejected 2 points: too old" == str(found)


def test_a_server_that_rejects_more_than_it_got_is_not_believed():
    """Or the accounts would not close."""
    assert {"partial_success": 3} == problem(answer(rejected=1000)).rejected


def test_a_warning_of_the_server_is_no_failure(caplog):
    """It took everything, and has something to say."""
    with (
        grpc_server([answer(message="use other names")]) as server,
        sender("otlp", endpoint=f"http://127.0.0.1:{server.port}") as made,
    ):
        send(made, frame("work", [1]))

    assert "use other names" in caplog.text


def test_a_server_that_is_away_is_tried_again_and_found_when_it_is_back():
    """Without a restart of ours, and soon: gRPC by itself waits up to two minutes between attempts to connect."""
    with grpc_server() as server:
        port = server.port
    with sender("otlp", endpoint=f"http://127.0.0.1:{port}") as made:
        with pytest.raises(SendError) as raised:
            send(made, frame("work", [1]))
        assert raised.value.retry
        with grpc_server(endpoint=f"127.0.0.1:{port}") as server:
            end = time.monotonic() + 20
            while not server.requests and time.monotonic() < end:
                try:
                    send(made, frame("work", [1]))
                except SendError:
                    time.sleep(0.1)
    assert server.requests


@pytest.mark.parametrize(("balancer", "all_of_them"), [("round_robin", True), ("pick_first", False)])
def test_requests_are_spread_over_the_addresses_of_a_name(balancer, all_of_them):
    """So that connections that stay open for days do not load one gateway alone."""
    with grpc_server() as first, grpc_server() as second:
        endpoint = f"ipv4:127.0.0.1:{first.port},127.0.0.1:{second.port}"
        with sender("otlp", endpoint=endpoint, tls={"insecure": True}, balancer_name=balancer) as made:
            for value in range(40):
                send(made, frame("work", [value]))

    assert 40 == len(first.requests) + len(second.requests)
    assert all_of_them == (min(len(first.requests), len(second.requests)) > 10)


def test_a_name_that_cannot_be_resolved_is_a_failure_that_may_pass():
    """DNS comes and goes, too."""
    with sender("otlp", endpoint="http://no-such-host.invalid:4317") as made, pytest.raises(SendError) as raised:
        send(made, frame("work", [1]))

    assert raised.value.retry
    assert "no-such-host.invalid" in str(raised.value) or "DNS" in str(raised.value)


def credentials(certificates, *, mutual=False):
    """What a server with these certificates needs."""
    pair = (certificates.read("server.key"), certificates.read("server.pem"))
    return grpc.ssl_server_credentials([pair], certificates.read("ca.pem"), require_client_auth=mutual)


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_requests_are_encrypted(certificates, mutual):
    """And the server may ask who we are."""
    tls = certificates.client() if mutual else {"ca_file": certificates.file("ca.pem")}
    with (
        grpc_server(credentials=credentials(certificates, mutual=mutual)) as server,
        sender("otlp", endpoint=f"localhost:{server.port}", tls=tls) as made,
    ):
        send(made, frame("work", [1]))

    assert 1 == len(server.requests)


def test_a_server_whose_certificate_nobody_knows_gets_nothing(certificates):
    """It stays a failure that may pass: certificates are replaced while we run."""
    with (
        grpc_server(credentials=credentials(certificates)) as server,
        sender("otlp", endpoint=f"https://localhost:{server.port}") as made,
        pytest.raises(SendError) as raised,
    ):
        send(made, frame("work", [1]))

    assert [] == server.requests
    assert raised.value.retry


def test_new_certificates_are_used_without_a_restart(certificates, tmp_path):
    """The authority was replaced; the next request after the check knows the new one."""
    authority = tmp_path / "ca.pem"
    authority.write_bytes(make_certificates(tmp_path / "other").read("ca.pem"))
    with (
        grpc_server(credentials=credentials(certificates)) as server,
        sender("otlp", endpoint=f"localhost:{server.port}", tls={"ca_file": str(authority)}) as made,
    ):
        with pytest.raises(SendError):
            send(made, frame("work", [1]))
        authority.write_bytes(certificates.read("ca.pem"))
        made._client.certificates.clock.advance(61)
        send(made, frame("work", [2]))

    assert [("work", [2])] == metrics_of(server.requests)


def test_a_certificate_that_is_missing_keeps_the_service_from_starting(tmp_path):
    """With the path as it was written."""
    path = tmp_path / "ca.pem"
    with (
        pytest.raises(SidecarError, match=rf'tls: a certificate or key "{path}" cannot be used: No such file'),
        sender("otlp", endpoint="localhost:4317", tls={"ca_file": str(path)}),
    ):
        pass
