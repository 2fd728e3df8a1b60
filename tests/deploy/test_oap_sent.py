# SPDX-License-Identifier: Apache-2.0
"""The labels that rules may name are those that the exporter sends."""

from skywalking.rules import INSTANCE, rules
from skywalking.sent import own_labels, sent

from ebpf_sidecar.exporters.skywalking.identity import RESOURCE
from ebpf_sidecar.exporters.skywalking.settings import OapSettings
from ebpf_sidecar.exporters.skywalking.shaping import Shaping
from ebpf_sidecar.pipeline.frame import Frame, Kind, Temporality
from ebpf_sidecar.pipeline.metric_info import MetricInfo, counter, gauge
from ebpf_sidecar.pipeline.testing import frame

ERRORS = counter("ebpf.syscall.errors", "{error}", "", "syscall", "device", "error.type", "le", "container.id")
OF_A_ROW = {"process.executable.name": "x", "k8s.pod.name": "p"}


def made(metric):
    """A metric as a probe makes it."""
    return MetricInfo(metric.name, metric.kind, metric.unit, "", metric.attributes, made_by="probe p")


def test_the_labels_of_a_rule_are_those_that_the_exporter_leaves_on_points():
    """With underscores for dots, without what is added up, and without what the instance stands for."""
    rows = [OF_A_ROW | dict.fromkeys(ERRORS.attributes, "any")]
    counted = frame(ERRORS.name, [1], rows, temporality=Temporality.DELTA)
    [shaped] = [each for each in Shaping(OapSettings(cluster="c")).frames(counted) if isinstance(each, Frame)]

    assert set(own_labels(ERRORS)) == set(shaped.rows.columns) - set(RESOURCE)
    assert ("syscall", "error_type", "le_") == own_labels(ERRORS)


def test_a_histogram_is_three_metrics():
    """Buckets with bounds, their count and their sum; all are counted."""
    duration = MetricInfo("ebpf.x.duration", Kind.HISTOGRAM, "s", "", ("operation",), made_by="probe p")
    found = sent([duration])

    assert ["ebpf_x_duration", "ebpf_x_duration_count", "ebpf_x_duration_sum"] == list(found)
    assert [True, False, False] == ["le" in each.labels for each in found.values()]
    assert all(each.counts for each in found.values())


def test_what_the_service_says_about_itself_is_not_sent():
    """Neither by the service nor by components; what they measure is."""
    metrics = [
        MetricInfo("ebpf.collector.errors", Kind.COUNTER, "{error}", "", (), made_by="service"),
        counter("ebpf_sidecar.receiver.forgotten_rows", "{row}", ""),
        gauge("ebpf.map.entries", "{entry}", "", "map"),
    ]

    assert ["ebpf_map_entries"] == list(sent(metrics))


def test_a_size_has_percentiles_in_thousandths_of_a_byte():
    """OAP multiplies bounds by 1000, which makes microseconds of milliseconds."""
    size = MetricInfo("ebpf.x.size", Kind.HISTOGRAM, "By", "", (), made_by="probe p")
    duration = MetricInfo("ebpf.x.duration", Kind.HISTOGRAM, "s", "", (), made_by="probe p")
    found = {rule.name: (rule.unit, rule.shown) for rule in rules([size, duration], INSTANCE)}

    assert {
        "x_size": ("bytes/1000", ("bytes", 1000)),
        "x_size_count": ("events", ("events", 1)),
        "x_size_bytes": ("bytes", ("bytes", 1)),
        "x_latency": ("us", ("ms", 1000)),
        "x_count": ("events", ("events", 1)),
        "x_time_us": ("us", ("ms", 1000)),
    } == found


def test_counters_of_bytes_say_so_and_levels_are_not_added_over_the_minute():
    """A level is what it was on average."""
    found = rules([made(counter("ebpf.io", "By", "")), made(gauge("ebpf.waiting", "{process}", ""))], INSTANCE)

    assert ["io_bytes", "waiting"] == [rule.name for rule in found]
    assert [True, False] == [rule.exp.endswith(".downsampling(SUM)") for rule in found]
