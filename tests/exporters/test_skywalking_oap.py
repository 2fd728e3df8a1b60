# SPDX-License-Identifier: Apache-2.0
"""The exporter ``skywalking_oap`` against a server of the protocol; a real OAP is in the tests marked ``peer``."""

import pytest
from grpc import StatusCode
from otlp_senders import send, sender
from otlp_servers import grpc_server

from ebpf_sidecar.pipeline import SendError
from ebpf_sidecar.pipeline.testing import NOON, RecordedTelemetry, frame

SECOND = 10**9


def to_oap(port, **settings):
    """An exporter that sends to that port."""
    return sender("skywalking_oap", endpoint=f"http://127.0.0.1:{port}", cluster="c", pod_name="p", **settings)


def counted(second, values, rows):
    """A counter, read ``second`` seconds after noon."""
    return frame("ebpf.work", values, rows, time_unix_nano=NOON + second * SECOND, start_time_unix_nano=NOON)


def test_each_container_is_a_resource_with_its_deltas():
    """Named as the rules expect, with the token as OAP takes it."""
    rows = [
        {"container.id": "a" * 64, "process.executable.name": "x", "error.type": "EIO"},
        {"container.id": "a" * 64, "process.executable.name": "y", "error.type": "EIO"},
        {"container.id": "b" * 64, "process.executable.name": "x", "error.type": "EIO"},
    ]
    with grpc_server() as server, to_oap(server.port, authentication="secret") as made:
        send(made, counted(1, [1, 2, 3], rows))
        send(made, counted(2, [2, 4, 6], rows))

    found = [
        (
            {each.key: each.value.string_value for each in resource.resource.attributes},
            [(metric.name, metric.sum.aggregation_temporality, point.as_int, [a.key for a in point.attributes])
             for metric in resource.scope_metrics[0].metrics for point in metric.sum.data_points],
        )
        for resource in server.requests[1].resource_metrics
    ]  # fmt: skip
    named = {
        name: {"cluster": "c", "job_name": "ebpf-sidecar", "pod_name": "p", "container_name": name,
               "oap_instance": f"{name}@p"}
        for name in ("a" * 12, "b" * 12)
    }  # fmt: skip
    assert [
        (named["a" * 12], [("ebpf.work", 1, 3, ["error_type"])]),
        (named["b" * 12], [("ebpf.work", 1, 3, ["error_type"])]),
    ] == found
    assert "secret" == server.metadata[0]["authentication"]
    assert "authorization" not in server.metadata[0]


def test_a_request_has_at_most_a_thousand_points_of_a_metric_and_instance():
    """OAP takes quadratic time."""
    rows = [{"container.id": "a", "syscall": f"call{number}"} for number in range(2500)]
    with grpc_server() as server, to_oap(server.port) as made:
        send(made, counted(1, [1] * 2500, rows))

    sizes = [
        len(request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points) for request in server.requests
    ]
    assert [1000, 1000, 500] == sizes


@pytest.mark.parametrize("code", [StatusCode.UNKNOWN, StatusCode.CANCELLED, StatusCode.PERMISSION_DENIED])
def test_what_may_be_counted_in_part_is_not_sent_again(code):
    """A second delta would be added to the first."""
    with (
        grpc_server([(code, "no", None)]) as server,
        to_oap(server.port) as made,
        pytest.raises(SendError, match=code.name) as raised,
    ):
        send(made, counted(1, [1], [{}]))

    assert not raised.value.retry


def test_a_request_that_timed_out_is_sent_again_and_counted_as_possibly_doubled():
    """OAP may have counted it before."""
    telemetry, slow = RecordedTelemetry(), [(StatusCode.DEADLINE_EXCEEDED, "slow", None)]
    with (
        grpc_server(slow) as server,
        to_oap(server.port, telemetry=telemetry) as made,
        pytest.raises(SendError) as raised,
    ):
        send(made, counted(1, [1, 2], [{"op": "a"}, {"op": "b"}]))

    assert raised.value.retry
    assert {"ebpf_sidecar.exporter.possibly_doubled_metric_points": 2} == {
        name: read() for name, read in telemetry.counters.items()
    }
