# SPDX-License-Identifier: Apache-2.0
"""The official SDK sends OTLP to a real Prometheus: what other tests compare our exporter with."""

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from prometheus_servers import first_answer, needs_current, otlp_prometheus, otlp_url, query
from sdk_metrics import NASTY, sdk_metrics

pytestmark = [pytest.mark.peer, needs_current]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """One that was sent a metric of each kind."""
    with otlp_prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        client = OTLPMetricExporter(otlp_url(running))
        assert client.export(sdk_metrics()) is MetricExportResult.SUCCESS
        client.shutdown()
        first_answer(running, "target_info", bool)
        yield running


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ebpf_cache_misses_total", {"web": 300, NASTY: 600}),
        ("ebpf_cache_pages", {"web": -3, NASTY: -6}),
        ("ebpf_cache_hit_rate_percent", {"web": 92.5, NASTY: 46.25}),
        ('ebpf_block_io_duration_seconds_bucket{le="0.001"}', {"web": 1, NASTY: 1}),
        ("ebpf_block_io_duration_seconds_sum", {"web": 0.0005, NASTY: 0.001}),
        ("histogram_count(ebpf_block_io_size_bytes)", {"web": 1, NASTY: 1}),
        ("histogram_sum(ebpf_block_io_size_bytes)", {"web": 4096, NASTY: 8192}),
    ],
)
def test_a_prometheus_has_the_points_that_it_was_sent(address, expression, expected):
    """By the names and units of Prometheus, with attribute values unchanged."""
    values = {each["metric"]["k8s_pod_name"]: float(each["value"][1]) for each in query(address, expression)}

    assert expected == values


def test_a_prometheus_knows_whose_points_they_are(address):
    """From the resource."""
    [info] = query(address, 'target_info{host_id="7"}')

    assert "peers" == info["metric"]["job"]
