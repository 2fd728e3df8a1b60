# SPDX-License-Identifier: Apache-2.0
"""Settings for labels, names, timestamps, and the resource."""

import pytest
from served_exporter import OPENMETRICS, SECOND, ServedExporter, people

from ebpf_sidecar.pipeline.testing import NOON, frame


def test_the_resource_is_in_target_info():
    """First on the page, with every attribute."""
    served = ServedExporter(resource={"service.name": "s", "host.name": 'h"'})
    served.export(frame("a", [1]))

    assert served.page(OPENMETRICS).startswith(
        "# HELP target Target metadata\n# TYPE target info\n" r'target_info{host_name="h\"",service_name="s"} 1'
    )
    assert served.page().startswith("# HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{")


def test_resource_attributes_become_labels_on_request():
    """Beside the row's own."""
    served = ServedExporter({"resource_to_telemetry_conversion": {"enabled": True}}, resource={"host.name": "h"})
    rows = people("a")
    served.export(frame("work", [1], rows), frame("other", [1], rows, resource={"host.name": "i"}))

    assert ['other_total{host_name="i",who="a"} 1', 'work_total{host_name="h",who="a"} 1'] == served.samples()[2:]


def test_each_resource_has_its_target_info_until_its_metrics_expire():
    """Frames may come from several."""
    served = ServedExporter(resource={"host.name": "h"})
    served.export(frame("a", [1]), frame("b", [1], resource={"host.name": "i"}))
    both = served.samples()[:2]
    served.clock.advance(200)
    served.export(frame("a", [1]))
    served.clock.advance(200)

    assert ['target_info{host_name="h"} 1', 'target_info{host_name="i"} 1'] == both
    assert ['target_info{host_name="h"} 1', "a_total 1"] == served.samples()


def test_labels_can_be_short_and_constant_ones_added():
    """As Kubernetes' own metrics call them."""
    served = ServedExporter({"label_names": "short", "const_labels": {"cluster": "blue"}})
    served.export(frame("work", [1], [{"k8s.pod.name": "p", "k8s.namespace.name": "n"}]))

    assert ['work_total{cluster="blue",namespace="n",pod="p"} 1'] == served.samples()


def test_timestamps_are_written_on_request():
    """Milliseconds in 0.0.4, seconds in OpenMetrics; what vanished keeps the time at which it was read."""
    served = ServedExporter({"send_timestamps": True})
    served.export(frame("work", [1, 2], people("a", "b"), time_unix_nano=NOON))
    served.export(frame("work", [3], people("a"), time_unix_nano=NOON + 1_500_000_000))

    assert ['work_total{who="a"} 3 1767268801500', 'work_total{who="b"} 2 1767268800000'] == served.samples()
    assert 'work_total{who="a"} 3 1767268801.500\n' in served.page(OPENMETRICS)


USES_CREATED = {"accept": f"application/vnd.google.protobuf;q=0.6,{OPENMETRICS['accept']};q=0.5"}


@pytest.mark.parametrize(
    ("setting", "asked"), [(None, USES_CREATED), ("auto", USES_CREATED), (True, OPENMETRICS), (True, USES_CREATED)]
)
def test_created_timestamps_go_to_scrapers_that_use_them(setting, asked):
    """Or to all where that is set; in OpenMetrics only, and of what is known to start then."""
    parts = {"start_time_unix_nano": NOON - SECOND // 2}
    served = ServedExporter({} if setting is None else {"created_timestamps": setting})
    served.export(frame("work", [1], **parts), frame("wait", [[1, 2]], bounds=[1], **parts), frame("unknown", [1]))
    created = [line for line in served.page(asked).splitlines() if "_created" in line]

    assert ["wait_created 1767268799.500", "work_created 1767268799.500"] == created
    assert "_created" not in served.page()
    assert (setting is True) == ("_created" in served.page(OPENMETRICS))


def test_no_created_timestamps_where_they_are_turned_off():
    """For any scraper."""
    served = ServedExporter({"created_timestamps": False})
    served.export(frame("work", [1], start_time_unix_nano=NOON))

    assert "_created" not in served.page(USES_CREATED)


def test_names_can_do_without_suffixes():
    """In OpenMetrics, a counter's sample needs its ``_total`` all the same."""
    served = ServedExporter({"add_metric_suffixes": False})
    served.export(frame("io", [1], unit="By"))

    assert ["io 1"] == served.samples()
    assert "# TYPE io counter\nio_total 1\n# EOF\n" == served.page(OPENMETRICS)
