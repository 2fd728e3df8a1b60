# SPDX-License-Identifier: Apache-2.0
"""The service's own telemetry: one ledger, shown as OpenTelemetry metrics and in the log."""

import logging
import os

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families as lenient

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.telemetry.component import ComponentTelemetry
from ebpf_sidecar.pipeline.telemetry.exposition import InternalTelemetry
from ebpf_sidecar.pipeline.telemetry.ledger import ERRORS, QUEUE_SIZE, SENT, Ledger

ID = ComponentId(ComponentKind.EXPORTER, "prometheus")


@pytest.fixture
def ledger():
    """A ledger with a counter and a gauge."""
    ledger = Ledger()
    ledger.add(SENT, 7, (("exporter", "prometheus"),))
    return ledger


def samples(families):
    """All samples by name and labels."""
    return {(s.name, *s.labels.items()): s.value for family in families for s in family.samples}


def test_counters_and_gauges_appear_in_both_formats(ledger):
    """Text 0.0.4 and OpenMetrics have the same content."""
    shown = InternalTelemetry(ledger, {"service.name": "x"})
    ledger.gauge(QUEUE_SIZE, (("exporter", "prometheus"),), lambda: 3)
    label = ("exporter", "prometheus")
    old = samples(lenient(shown.exposition(False).decode()))
    new = samples(strict(shown.exposition(True).decode() + "# EOF\n"))
    shown.shutdown()

    for page in (old, new):
        assert 7 == page["ebpf_sidecar_exporter_sent_metric_points_total", label]
        assert 3 == page["ebpf_sidecar_exporter_queue_size", label]
    assert any(name[0] == "process_resident_memory_bytes" for name in old)


def test_the_first_error_of_a_kind_is_an_increase():
    """Its series is 0 on the first page that it is on; what is read elsewhere does not wait."""
    ledger = Ledger()
    shown, telemetry = InternalTelemetry(ledger, {}), ComponentTelemetry(ID, ledger, logging.getLogger("test"))
    pages = []
    for _ in range(3):
        telemetry.error("sending", "no")
        pages.append(_errors(shown.exposition(True)))
    shown.shutdown()

    assert [0, 2, 3] == pages
    assert [3] == list(ledger.counts(ERRORS).values())


def test_the_first_error_is_an_increase_on_each_page():
    """Exporters have pages of their own, and a scraper of one does not see the 0 on another."""
    ledger = Ledger()
    shown, telemetry = InternalTelemetry(ledger, {}), ComponentTelemetry(ID, ledger, logging.getLogger("test"))
    telemetry.error("sending", "no")
    pages = [_errors(shown.exposition(True, page)) for page in ("one", "two", "one", "two")]
    shown.shutdown()

    assert [0, 0, 1, 1] == pages


def _errors(page):
    series = ("ebpf_collector_errors_total", ("component", "exporter prometheus"), ("stage", "sending"))
    return samples(strict(page.decode() + "# EOF\n"))[series]


def test_a_component_counts_and_shows_and_is_forgotten(ledger):
    """Its counter is a counter on the page, its gauge a gauge; both go with it, and another's stay."""
    shown = InternalTelemetry(ledger, {})
    both = [
        ComponentTelemetry(ComponentId(ComponentKind.EXPORTER, name), ledger, logging.getLogger("test"))
        for name in ("prometheus", "debug")
    ]
    for telemetry in both:
        telemetry.count("ebpf_sidecar.late", "{batch}", "Batches that were late", lambda: 2)
        telemetry.observe("ebpf_sidecar.held", "By", "Bytes held", lambda: 5)
    before = samples(strict(shown.exposition(True).decode() + "# EOF\n"))
    both[0].withdraw()
    after = samples(strict(shown.exposition(True).decode() + "# EOF\n"))
    shown.shutdown()
    ours = [
        (name, ("component", "exporter prometheus")) for name in ("ebpf_sidecar_late_total", "ebpf_sidecar_held_bytes")
    ]

    assert [2, 5] == [before[each] for each in ours]
    assert set(ours) == before.keys() - after.keys()
    assert 7 == after["ebpf_sidecar_exporter_sent_metric_points_total", ("exporter", "prometheus")]


@pytest.mark.parametrize(("value", "warnings"), [("true", 1), (" TRUE ", 1), ("false", 0), ("", 0)])
def test_the_switch_of_the_sdk_does_not_hide_what_was_lost(ledger, monkeypatch, caplog, value, warnings):
    """The service's own metrics stay, the log reports it, and others in the process still see the variable."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    shown = InternalTelemetry(ledger, {})
    page = shown.exposition(False)
    shown.shutdown()

    assert b"ebpf_sidecar_exporter_sent_metric_points_total" in page
    assert warnings == len([each for each in caplog.messages if "OTEL_SDK_DISABLED" in each])
    assert value == os.environ["OTEL_SDK_DISABLED"]


def test_the_page_has_no_target_info_and_no_scope_labels(ledger):
    """Who we are is written once for the whole page, by the exporter."""
    shown = InternalTelemetry(ledger, {"service.name": "x"})
    page = shown.exposition(False)
    shown.shutdown()

    assert b"target_info" not in page
    assert b"otel_scope" not in page


def test_a_repeated_problem_is_logged_once_and_counted_each_time(caplog):
    """The log shows when it started and when it was over; the counter how often it happened."""
    ledger = Ledger()
    telemetry = ComponentTelemetry(ID, ledger, logging.getLogger("test"))
    with caplog.at_level(logging.INFO, "test"):
        for _ in range(3):
            telemetry.error("sending", ValueError("no"))
        telemetry.recovered("sending")
        telemetry.recovered("sending")

    assert ["sending: ValueError: no; further errors are only counted", "sending: recovered"] == caplog.messages
    assert ("ebpf.collector.errors", (("component", "exporter prometheus"), ("stage", "sending")), 3) in set(
        ledger.snapshot()
    )


def test_dropped_points_are_counted_by_reason(caplog):
    """Each reason is a series of its own, and logged when it first appears."""
    ledger = Ledger()
    telemetry = ComponentTelemetry(ID, ledger, logging.getLogger("test"))
    with caplog.at_level(logging.WARNING, "test"):
        telemetry.dropped(5, "queue_full")
        telemetry.dropped(2, "queue_full")
        telemetry.dropped(0, "nothing")

    assert 1 == len(caplog.messages)
    assert [7] == [value for name, _, value in ledger.snapshot() if name == "ebpf_sidecar.dropped_metric_points"]
