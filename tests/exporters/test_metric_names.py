# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry names become the Prometheus names that alerts and dashboards use."""

import re

import pytest
from hypothesis import given
from strategies import metric_names, units

from ebpf_sidecar.exporters.exposition.names import label_name, metric_name
from ebpf_sidecar.pipeline import Kind

SPECIFICATION = [
    ("(lambda).function.executions(#)", "", Kind.GAUGE, "lambda_function_executions"),
    ("system.filesystem.usage", "By", Kind.UPDOWNCOUNTER, "system_filesystem_usage_bytes"),
    ("system.network.dropped", "{packets}", Kind.GAUGE, "system_network_dropped"),
    ("system.network.dropped", "packets", Kind.GAUGE, "system_network_dropped_packets"),
    ("system.memory.utilization", "1", Kind.GAUGE, "system_memory_utilization_ratio"),
    ("system.memory.utilization", "1", Kind.UPDOWNCOUNTER, "system_memory_utilization"),
    ("astro.light.speed", "m/s", Kind.GAUGE, "astro_light_speed_meters_per_second"),
    ("work", "{request}/s", Kind.GAUGE, "work_per_second"),
    ("1st.place", "", Kind.GAUGE, "_1st_place"),
    ("a__b..c", "", Kind.GAUGE, "a_b_c"),
    ("request.duration.seconds", "s", Kind.HISTOGRAM, "request_duration_seconds"),
    ("total.requests", "", Kind.COUNTER, "requests_total"),
    ("requests.total", "", Kind.COUNTER, "requests_total"),
    ("time.ratio.used", "1", Kind.GAUGE, "time_used_ratio"),
    ("§", "", Kind.GAUGE, "_"),
]


def test_a_metric_gets_its_prometheus_name():
    """As in the specification's examples; for our own metrics, tests/test_docs.py has the names."""
    made = [(name, unit, kind, metric_name(name, unit, kind).text) for name, unit, kind, _ in SPECIFICATION]

    assert SPECIFICATION == made


def test_openmetrics_names_a_counter_without_total_and_its_sample_with_it():
    """The unit is at the end of the family name, as OpenMetrics requires."""
    name = metric_name("ebpf.syscall.io", "By", Kind.COUNTER)

    assert ("ebpf_syscall_io_bytes", "ebpf_syscall_io_bytes_total", "bytes") == (name.family, name.sample, name.unit)


def test_a_unit_that_is_not_at_the_end_is_no_openmetrics_unit():
    """The name contains it already, in the middle."""
    name = metric_name("bytes.used", "By", Kind.GAUGE)

    assert ("bytes_used", "") == (name.family, name.unit)


def test_without_suffixes_names_are_only_made_valid():
    """OpenMetrics cannot do without ``_total`` on a counter's sample."""
    plain = metric_name("ebpf.syscall.io", "By", Kind.COUNTER, suffixes=False)
    named_total = metric_name("io.total", "By", Kind.COUNTER, suffixes=False)

    assert ("ebpf_syscall_io", "ebpf_syscall_io_total") == (plain.text, plain.sample)
    assert ("io_total", "io", "io_total") == (named_total.text, named_total.family, named_total.sample)


@given(metric_names, units)
def test_every_name_is_valid(name, unit):
    """Whatever the input, Prometheus accepts the output, and a counter's family never ends in ``_total``."""
    for kind in Kind:
        made = metric_name(name, unit, kind)

        for text in (made.family, made.text, made.sample):
            assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", text)
            assert "__" not in text
        assert not (kind is Kind.COUNTER and made.family.endswith("_total"))


@pytest.mark.parametrize(
    ("attribute", "semantic", "short"),
    [
        ("k8s.namespace.name", "k8s_namespace_name", "namespace"),
        ("k8s.pod.name", "k8s_pod_name", "pod"),
        ("k8s.container.name", "k8s_container_name", "container"),
        ("k8s.node.name", "k8s_node_name", "node"),
        ("k8s.pod.uid", "k8s_pod_uid", "k8s_pod_uid"),
        ("error.type", "error_type", "error_type"),
        ("__name__", "_name_", "_name_"),
        ("1st", "key_1st", "key_1st"),
        ("é.ü", "_", "_"),
        ("le", "exported_le", "exported_le"),
        ("", "_", "_"),
    ],
)
def test_an_attribute_gets_its_label(attribute, semantic, short):
    """By its semantic convention, or as Kubernetes' own metrics call it."""
    assert (semantic, short) == (label_name(attribute), label_name(attribute, short=True))
