# SPDX-License-Identifier: Apache-2.0
"""The official SDK sends to a real OpenTelemetry Collector: what other tests compare our exporters with."""

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as over_grpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import metric_exporter as over_http
from opentelemetry.sdk.metrics.export import MetricExportResult
from otel_collector import needs_collector, otel_collector
from otlp_servers import make_certificates
from sdk_metrics import as_sent, sdk_metrics

pytestmark = [pytest.mark.peer, needs_collector]

GRPC = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
HTTP = {"none": Compression.NoCompression, "gzip": Compression.Gzip, "deflate": Compression.Deflate}
WAYS = [("grpc", each) for each in GRPC] + [("http", each) for each in HTTP]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Those that both sides use where they use TLS."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=["plain", "mutual TLS"])
def collector(request, certificates, tmp_path_factory):
    """One that speaks without TLS, and one that also wants to know the client."""
    folder, secure = tmp_path_factory.mktemp("collector"), request.param != "plain"
    with otel_collector(folder, tls=certificates if secure else None, client_tls=secure) as running:
        yield running, certificates if secure else None


def exporter(protocol, compression, running, certificates):
    """The official exporter for a protocol, with the client's certificate where there are any."""
    if protocol == "grpc":
        credentials = certificates and grpc.ssl_channel_credentials(
            *(certificates.read(name) for name in ("ca.pem", "client.key", "client.pem"))
        )
        return over_grpc.OTLPMetricExporter(
            running.grpc, insecure=certificates is None, credentials=credentials, compression=GRPC[compression]
        )
    files = certificates and {
        "certificate_file": certificates.file("ca.pem"),
        "client_key_file": certificates.file("client.key"),
        "client_certificate_file": certificates.file("client.pem"),
    }
    url = f"http{'s' if certificates else ''}://{running.http}/v1/metrics"
    return over_http.OTLPMetricExporter(url, compression=HTTP[compression], **(files or {}))


@pytest.mark.parametrize(("protocol", "compression"), WAYS)
def test_a_collector_writes_what_it_was_sent(collector, protocol, compression, monkeypatch):
    """Every point, attribute, bucket and time, by each protocol, compressed or not."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # with one of them the SDK does not look at certificate_file
        monkeypatch.delenv(name, raising=False)
    running, certificates = collector
    before, metrics = len(running.received()), sdk_metrics()
    client = exporter(protocol, compression, running, certificates)
    result = client.export(metrics)
    client.shutdown()
    received = running.received_after(lambda requests: len(requests) > before)

    assert MetricExportResult.SUCCESS is result
    assert [as_sent(metrics)] == [list(each.resource_metrics) for each in received[before:]]


def test_a_collector_refuses_a_client_that_it_does_not_know(certificates, tmp_path):
    """A certificate is asked for, so that mutual TLS is what was proven."""
    stranger = grpc.ssl_channel_credentials(certificates.read("ca.pem"))
    with otel_collector(tmp_path, tls=certificates, client_tls=True) as running:
        client = over_grpc.OTLPMetricExporter(running.grpc, credentials=stranger, timeout=2)
        result = client.export(sdk_metrics())
        client.shutdown()

        assert MetricExportResult.FAILURE is result
        assert [] == running.received()


def test_changes_reach_the_collectors_configuration(tmp_path):
    """Here a processor that joins two requests of ten points into one."""
    batch = {"send_batch_size": 20, "timeout": "60s"}
    joined = {"processors": {"batch": batch}, "service": {"pipelines": {"metrics": {"processors": ["batch"]}}}}
    with otel_collector(tmp_path, changes=joined) as running:
        client = over_grpc.OTLPMetricExporter(running.grpc, insecure=True)
        for _ in range(2):
            client.export(sdk_metrics())
        client.shutdown()

        assert [2] == [len(each.resource_metrics) for each in running.received_after(bool)]
