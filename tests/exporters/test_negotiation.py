# SPDX-License-Identifier: Apache-2.0
"""Scrapers get the format and encoding that they request."""

import pytest

from ebpf_sidecar.exporters.exposition.negotiation import takes_created, wants_gzip, wants_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,text/plain;version=0.0.4;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (PROMETHEUS_PROTOBUF, True),
        ("Application/OpenMetrics-Text", True),
        ('application/openmetrics-text; version="1.0.0"; charset=utf-8', True),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("application/openmetrics-text;version=2.0.0", False),
        (";;,=,q", False),
    ],
)
def test_the_scrapers_preferred_format_is_chosen(accept, openmetrics):
    """Text 0.0.4 unless OpenMetrics is requested."""
    assert openmetrics == wants_openmetrics(accept)


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        (PROMETHEUS_PROTOBUF, True),
        ("application/vnd.google.protobuf,application/openmetrics-text", True),
        (PROMETHEUS_2, False),
        (PROMETHEUS_3, False),
        ("application/openmetrics-text,application/vnd.google.protobuf;q=0.5", False),
        ("application/vnd.google.protobuf;q=0", False),
        ("application/openmetrics-text", False),
        ("", False),
    ],
)
def test_created_timestamps_go_to_scrapers_that_prefer_protobuf(accept, taken):
    """Prometheus does so if configured to use them; others would store each as a series."""
    assert taken == takes_created(accept)


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
    ],
)
def test_pages_are_compressed_only_where_that_is_accepted(accept_encoding, gzip):
    """A quality of zero means "not acceptable"."""
    assert gzip == wants_gzip(accept_encoding)
