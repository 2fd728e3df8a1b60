# SPDX-License-Identifier: Apache-2.0
"""The settings of both exporters: the Collector's, and the variables that OpenTelemetry's SDKs read."""

import pytest
from pydantic import ValidationError

from ebpf_sidecar.exporters.otlp_transport.settings import OtlpGrpcSettings, OtlpHttpSettings, split_target


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """Those of the machine must not decide about a test."""
    import os  # noqa: PLC0415 # here alone

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("endpoint", "insecure", "target", "plain"),
    [
        ("collector:4317", False, "collector:4317", False),
        ("collector:4317", True, "collector:4317", True),
        ("http://collector:4317", False, "collector:4317", True),
        ("https://collector:4317", True, "collector:4317", False),
        ("https://collector", False, "collector:443", False),
        ("http://[::1]:4317", False, "[::1]:4317", True),
        ("unix:///run/otel.sock", False, "unix:///run/otel.sock", True),
        ("dns:///collector:4317", False, "dns:///collector:4317", False),
    ],
)
def test_the_scheme_of_an_endpoint_decides_about_encryption(endpoint, insecure, target, plain):
    """As in the Collector; without one, ``tls::insecure`` does."""
    settings = OtlpGrpcSettings(endpoint=endpoint, tls={"insecure": insecure})

    assert (target, plain) == (split_target(settings.endpoint)[1], settings.is_insecure)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": "collector"}, '"collector" has no port; write "collector:4317"'),
        ({"endpoint": "ftp://collector:21"}, '"ftp://collector:21" is not an endpoint; write "host:port"'),
        ({"endpoint": ""}, '"" is not an endpoint'),
        ({"endpoint": "http://"}, '"http://" is not an endpoint'),
        ({"compression": "zstd"}, "Input should be 'none' or 'gzip'"),
        ({"tls": {"cert_file": "a"}}, "cert_file needs key_file; write both or none"),
        ({"tls": {"key_file": "a"}}, "key_file needs cert_file; write both or none"),
        ({"max_request_size": 5}, "greater than or equal to 1024"),
        ({"temporality": "rate"}, "Input should be 'cumulative', 'delta' or 'lowmemory'"),
    ],
    ids=[
        "an_endpoint_without_a_port", "a_scheme_of_another_protocol", "no_endpoint", "a_scheme_alone",
        "a_compression_that_grpc_lacks", "a_certificate_without_a_key", "a_key_without_a_certificate",
        "requests_too_small_for_a_point", "an_unknown_temporality",
    ],
)  # fmt: skip
def test_wrong_settings_of_grpc_are_named(settings, message):
    """With what to write instead."""
    with pytest.raises(ValidationError) as raised:
        OtlpGrpcSettings(**settings)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": "collector:4318"}, 'endpoint: "collector:4318" is not a URL; write one, as in "http://coll'),
        ({"endpoint": "http://"}, 'endpoint: "http://" is not a URL'),
        ({"endpoint": "http://collector:99999"}, 'endpoint: "http://collector:99999" is not a URL'),
        ({"metrics_endpoint": "/v1/metrics"}, 'metrics_endpoint: "/v1/metrics" is not a URL'),
    ],
    ids=["no_scheme", "no_host", "a_port_too_high", "a_path_alone"],
)
def test_wrong_settings_of_http_are_named(settings, message):
    """With what to write instead."""
    with pytest.raises(ValidationError) as raised:
        OtlpHttpSettings(**settings)
    assert message in str(raised.value)


def test_variables_are_used_where_nothing_is_written(monkeypatch):
    """Those of the metrics signal first."""
    for name, value in {
        "ENDPOINT": "http://general:4317", "METRICS_ENDPOINT": "https://metrics:4317", "HEADERS": "a=1,b=two%20words",
        "COMPRESSION": "gzip", "TIMEOUT": "2500", "CERTIFICATE": "/ca.pem", "CLIENT_KEY": "/key",
        "METRICS_CLIENT_CERTIFICATE": "/cert", "METRICS_TEMPORALITY_PREFERENCE": "LowMemory",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)

    found = OtlpGrpcSettings()
    assert ("https://metrics:4317", "gzip", 2.5, "lowmemory") == (
        found.endpoint, found.compression, found.timeout, found.temporality,
    )  # fmt: skip
    assert {"a": "1", "b": "two words"} == {name: value.get_secret_value() for name, value in found.headers.items()}
    assert ("/ca.pem", "/cert", "/key") == (found.tls.ca_file, found.tls.cert_file, found.tls.key_file)


def test_what_is_written_comes_before_variables(monkeypatch):
    """Setting by setting, those of TLS too."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:4317/own/path")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem")

    grpc = OtlpGrpcSettings(endpoint="written:4317", compression="none", tls={"server_name_override": "x"})
    http = OtlpHttpSettings(endpoint="http://written:4318")

    assert ("written:4317", "none", "/ca.pem", "x") == (
        grpc.endpoint, grpc.compression, grpc.tls.ca_file, grpc.tls.server_name_override,
    )  # fmt: skip
    assert "http://written:4318/v1/metrics" == http.url


def test_http_adds_its_path_to_the_general_endpoint_only(monkeypatch):
    """As the specification says."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318/base/")
    assert "http://general:4318/base/v1/metrics" == OtlpHttpSettings().url

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:4318/own/path")
    assert "http://metrics:4318/own/path" == OtlpHttpSettings().url


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", 'OTEL_EXPORTER_OTLP_TIMEOUT is "10s"; write milliseconds'),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", 'OTEL_EXPORTER_OTLP_COMPRESSION is "brotli"; use one of none'),
        ("OTEL_EXPORTER_OTLP_HEADERS", "nothing", 'OTEL_EXPORTER_OTLP_HEADERS has no header; write "name=value'),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "x", 'PREFERENCE is "x"; use one of cumulative, delta'),
    ],
    ids=["a_unit_in_milliseconds", "an_unknown_compression", "headers_without_a_value", "an_unknown_temporality"],
)
def test_a_wrong_variable_is_named(monkeypatch, name, value, message):
    """It stands in no file that could be pointed to."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as raised:
        OtlpGrpcSettings()
    assert message in str(raised.value)


def test_headers_are_secrets():
    """They hold tokens."""
    assert "token" not in repr(OtlpGrpcSettings(headers={"x": "token"}))
