# SPDX-License-Identifier: Apache-2.0
"""Our exporters and a real OpenTelemetry Collector, and Prometheus 3: what arrives is what was counted."""

import os
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from otel_collector import needs_collector, otel_collector
from otlp_points import official, points_of
from otlp_senders import send, sender
from peers import cached
from prometheus_servers import first_answer, needs_current, otlp_prometheus, otlp_url

from ebpf_sidecar.pipeline.recording.file import Recording
from ebpf_sidecar.pipeline.testing import NOON, frame
from ebpf_sidecar.receivers.replay import PACKAGED

pytestmark = pytest.mark.peer
GATEWAY = Path(__file__).parents[2] / "deploy" / "gateway" / "collector.yaml"
WAYS = [("otlp", each) for each in ("none", "gzip")]
WAYS += [("otlphttp", each) for each in ("none", "gzip", "deflate", "zstd")]


def recorded(batches=1):
    """The first batches of the packaged recording: real counters, gauges and histograms of a kernel."""
    return [each.frames for _, each in zip(range(batches), Recording(PACKAGED).batches(print), strict=False)]


@pytest.fixture(scope="module", params=["plain", "mutual TLS"])
def collector(request, certificates, tmp_path_factory):
    """One that speaks without TLS, and one that also wants to know the client; with the settings for either."""
    folder, secure = tmp_path_factory.mktemp("collector"), request.param != "plain"
    tls = certificates.client() if secure else {"insecure": True}
    with otel_collector(folder, tls=certificates if secure else None, client_tls=secure) as running:
        yield running, {"tls": tls}, "https" if secure else "http"


@needs_collector
@pytest.mark.parametrize(("type_", "compression"), WAYS)
def test_a_collector_writes_what_the_kernel_counted(collector, type_, compression):
    """Every point of a real recording, as the official encoder would have sent it, by each protocol and compression."""
    running, tls, scheme = collector
    before = len(running.received())
    endpoint = running.grpc if type_ == "otlp" else f"{scheme}://{running.http}"
    frames = recorded()[0]
    with sender(type_, endpoint=endpoint, compression=compression, histogram_bounds="full", **tls) as made:
        send(made, *frames)
    received = running.received_after(lambda requests: len(requests) > before)

    expected = sum((points_of(official(each)) for each in frames if len(each)), Counter())
    assert 100 < sum(expected.values())
    assert expected == sum((points_of(each) for each in received[before:]), Counter())


@needs_collector
def test_deltas_add_up_to_what_the_kernel_counted(tmp_path):
    """In a real collector's output, whatever was restarted in between."""
    batches = recorded(10)
    with (
        otel_collector(tmp_path) as running,
        sender("otlp", endpoint=f"http://{running.grpc}", temporality="delta") as made,
    ):
        for frames in batches:
            send(made, *frames)
        received = running.received_after(lambda requests: len(requests) == len(batches))

    counted = sum(int(each.values.sum()) for each in batches[-1] if each.name == "ebpf.syscall.calls")
    first = sum(int(each.values.sum()) for each in batches[0] if each.name == "ebpf.syscall.calls")
    added_up = sum(
        point.as_int
        for request in received for resource in request.resource_metrics for scope in resource.scope_metrics
        for metric in scope.metrics if metric.name == "ebpf.syscall.calls" for point in metric.sum.data_points
    )  # fmt: skip
    assert counted - first <= added_up <= counted
    assert added_up > 0


@needs_collector
def test_the_gateways_configuration_is_one(tmp_path):
    """As the real program sees it."""
    config = tmp_path / "collector.yaml"
    config.write_text(GATEWAY.read_text().replace("${env:BACKEND}", "localhost:4317"))
    command = [cached("otelcol") / "otelcol", "validate", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout), done.stderr


def cpu_seconds(process):
    """What a process has taken so far, in user mode and in the kernel."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@needs_collector
def test_a_point_costs_less_than_in_the_collector(tmp_path):
    """Processor time from a frame to the server, against that of the Collector from OTLP in to OTLP out."""
    rows = [{"container.id": f"{n // 5:064x}", "process.executable.name": f"program-{n}"} for n in range(1000)]
    first = frame("work.0", [1] * 1000, rows)
    frames = [frame(f"work.{n}", range(1000), first.rows) for n in range(20)]
    with ExitStack() as stack:
        discard = {"exporters": {"nop": {}}, "service": {"pipelines": {"metrics": {"exporters": ["nop"]}}}}
        sink = stack.enter_context(otel_collector(tmp_path / "sink", changes=discard))
        forward = {"otlp/sink": {"endpoint": sink.grpc, "tls": {"insecure": True}, "compression": "none"}}
        changes = {"exporters": forward, "service": {"pipelines": {"metrics": {"exporters": ["otlp/sink"]}}}}
        running = stack.enter_context(otel_collector(tmp_path / "collector", changes=changes))
        made = stack.enter_context(sender("otlp", endpoint=f"http://{running.grpc}", timeout="30s"))
        send(made, *frames)
        until_quiet(running.process)
        ours, theirs = -time.process_time(), -cpu_seconds(running.process)
        for _ in range(15):
            send(made, *frames)
        ours += time.process_time()
        until_quiet(running.process)
        theirs += cpu_seconds(running.process)

    print(f"microseconds a point: ours {ours / 0.3:.2f}, the Collector's {theirs / 0.3:.2f}")  # of 300,000 points
    assert 0 < ours < theirs


def until_quiet(process):
    """Wait until the process takes no more time."""
    seen = -1.0
    while (now := cpu_seconds(process)) != seen:
        seen = now
        time.sleep(0.2)


@needs_current
def test_prometheus_has_what_the_kernel_counted(tmp_path):
    """By its OTLP receiver: a counter of each program, and a histogram's count."""
    rows = [{"container.id": "a", "op": "read"}, {"container.id": "a", "op": "write"}]
    when = {"time_unix_nano": time.time_ns(), "start_time_unix_nano": NOON - 10**15}
    with otlp_prometheus(tmp_path / "prometheus") as address:
        with sender("otlphttp", metrics_endpoint=otlp_url(address), compression="gzip") as made:
            send(
                made,
                frame("ebpf.work", [5, 7], rows, unit="By", **when),
                frame("ebpf.wait", [[1, 2], [3, 4]], rows, bounds=[0.5], unit="s", **when),
            )
        counted = first_answer(address, "ebpf_work_bytes_total", bool)
        waited = first_answer(address, "ebpf_wait_seconds_count", bool)

    assert {"read": "5", "write": "7"} == {each["metric"]["op"]: each["value"][1] for each in counted}
    assert {"read": "3", "write": "7"} == {each["metric"]["op"]: each["value"][1] for each in waited}
