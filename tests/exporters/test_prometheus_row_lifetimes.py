# SPDX-License-Identifier: Apache-2.0
"""Rows, metrics, receivers and pages that appear, disappear and return."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from served_exporter import OPENMETRICS, SECOND, ServedExporter, people
from strategies import counters_with_resets

from ebpf_sidecar.pipeline import ComponentKind, Kind, Temporality
from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.testing import NOON, frame


def test_rows_that_vanish_keep_their_value_until_they_expire(served):
    """And those that stay are not touched by it."""
    served.export(frame("work", [1, 2], people("a", "b")))
    served.clock.advance(200)
    served.export(frame("work", [5], people("b", first_id=1)))
    before = served.samples()
    served.clock.advance(100)
    at_the_limit = served.samples()
    served.clock.advance(0.001)

    assert ['work_total{who="b"} 5', 'work_total{who="a"} 1'] == before == at_the_limit
    assert ['work_total{who="b"} 5'] == served.samples()


LEVELS = {"kind": Kind.GAUGE}


def level(second, values, rows, name="level", **parts):
    """A gauge at a second."""
    return frame(name, values, rows, time_unix_nano=NOON + second * SECOND, **{**LEVELS, **parts})


@pytest.mark.parametrize("kind", [Kind.GAUGE, Kind.UPDOWNCOUNTER])
def test_what_was_not_measured_disappears_with_the_reading(served, kind):
    """A row of a metric, or the whole metric: the last minute's percentage says nothing about this minute."""
    served.export(level(0, [1, 2], people("a", "b"), kind=kind), frame("work", [1], people("a")))
    served.export(level(1, [3], people("b", first_id=1), kind=kind))
    one = served.samples()
    served.export(frame("work", [1], people("a"), time_unix_nano=NOON + 2 * SECOND))

    assert ['level{who="b"} 3.0', 'work_total{who="a"} 1'] == one
    assert ['work_total{who="a"} 1'] == served.samples()
    assert "level" not in served.page()


def test_changes_of_a_level_are_added_up_while_it_does_not_change(served):
    """Whatever is not reported has not changed."""
    for second, changes in enumerate(([1, 2], [3])):
        rows = people("a", "b")
        rows = rows if second == 0 else rows.take(np.array([1]))
        served.export(level(second, changes, rows, kind=Kind.UPDOWNCOUNTER, temporality=Temporality.DELTA))
    served.export(frame("work", [1], time_unix_nano=NOON + 2 * SECOND))

    assert ['level{who="b"} 5.0', 'level{who="a"} 1.0', "work_total 1"] == served.samples()


def test_another_receivers_reading_takes_no_gauge_away(served):
    """It measures something else, and more often."""
    left, right = (ComponentId(ComponentKind.RECEIVER, "r", name) for name in ("left", "right"))
    served.export(level(0, [1], people("a"), source=left))
    for second in range(1, 5):
        served.export(level(second, [second], people("b"), name="other", source=right))

    assert ['level{who="a"} 1.0', 'other{who="b"} 4.0'] == served.samples()


def test_a_sender_takes_no_gauge_of_another_one_away(served):
    """A receiver may forward data of many senders, each at its own times."""
    for second in range(4):
        sender = {"host.name": "a" if second % 2 else "b"}
        served.export(level(second, [second], people(sender["host.name"]), resource=sender))
    both = [line for line in served.samples() if line.startswith("level")]
    served.export(frame("work", [1], resource={"host.name": "b"}, time_unix_nano=NOON + 5 * SECOND))

    assert {'level{who="a"} 3.0', 'level{who="b"} 2.0'} == set(both)
    assert ['level{who="a"} 3.0'] == [line for line in served.samples() if line.startswith("level")]


def test_a_receiver_in_two_pipelines_takes_no_gauge_of_the_other_one_away(served):
    """Each reading comes twice: a gauge goes when its own pipeline's batch comes without it."""
    seen = []
    for second in range(4):
        served.export(frame("work", [1], time_unix_nano=NOON + second * SECOND), level(second, [1], people("a")))
        seen.append(served.samples())
        there = (
            [level(second, [2], people("b", first_id=1)), level(second, [2], people("c"), name="more")]
            if second < 2
            else []
        )
        served.export(frame("work", [1], people("z"), time_unix_nano=NOON + second * SECOND), *there)
        seen.append(served.samples())

    measured = [{line.split('"')[1] for line in samples if "work" not in line} for samples in seen]
    assert [{"a"}, *[{"a", "b", "c"}] * 4, {"a", "b"}, {"a"}, {"a"}] == measured


def test_a_silent_receivers_gauges_disappear(served):
    """After three intervals without a reading, as in health; its counters stay until they expire."""
    for second in range(2):
        served.clock.advance(10)
        served.export(
            level(10 * second, [1], people("a")), frame("work", [1], time_unix_nano=NOON + 10 * second * SECOND)
        )
    served.clock.advance(30)
    before = served.samples()
    served.clock.advance(0.1)

    assert ['level{who="a"} 1.0', "work_total 1"] == before
    assert ["work_total 1"] == served.samples()


def test_rows_that_return_continue(served):
    """There is one series, with the new value."""
    both = people("a", "b")
    served.export(frame("work", [1, 2], both, time_unix_nano=NOON))
    served.export(frame("work", [3], people("b", first_id=1), time_unix_nano=NOON + SECOND))
    served.export(frame("work", [4, 5], both, time_unix_nano=NOON + 2 * SECOND))

    assert ['work_total{who="a"} 4', 'work_total{who="b"} 5'] == served.samples()


def test_a_metric_that_is_no_longer_exported_disappears_with_its_comments(served):
    """Its name is free for another type."""
    served.export(frame("work", [1], unit="s", description="d"))
    served.clock.advance(301)
    gone = served.page()
    served.export(frame("work", [2.5], unit="s", kind=Kind.GAUGE))

    assert "" == gone
    assert ["work_seconds 2.5"] == served.samples()
    assert {} == served.drops


def test_an_expired_page_is_not_served_from_the_cache():
    """Scraping alone notices the expiry."""
    served = ServedExporter({"metric_expiration": "10s"})
    served.export(frame("work", [1]))
    first = served.page()
    served.clock.advance(10.5)

    assert ("# TYPE work_total counter\nwork_total 1\n", "") == (first, served.page())


def test_scrapers_that_come_together_share_one_page_in_memory(served):
    """However slowly they read it; an export makes a new one at once."""
    served.export(frame("work", [1]))
    for headers in ({}, OPENMETRICS, {"accept-encoding": "gzip"}):
        pages = [served.context.routes.get("/metrics", headers).body for _ in range(3)]

        assert pages[0] is pages[1] is pages[2]
    served.export(frame("work", [2], time_unix_nano=NOON + SECOND))

    assert ["work_total 2"] == served.samples()


def test_many_scrapes_between_exports_cost_one_rendering(served, monkeypatch):
    """Each format is rendered when it is first requested after an export."""
    rendered = []
    render = served.exporter._render
    monkeypatch.setattr(served.exporter, "_render", lambda form: rendered.append(form.openmetrics) or render(form))
    served.export(frame("work", [1], time_unix_nano=NOON))
    for _ in range(3):
        served.page()
        served.page(OPENMETRICS)
    served.export(frame("work", [2], time_unix_nano=NOON + SECOND))
    served.page()

    assert [False, True, False] == rendered


def test_a_page_holds_all_frames_of_an_export_or_none(served):
    """Scrapes during an export never see half a batch, nor a counter that decreases."""

    def scrapes(_):
        return [{int(line.rsplit(" ", 1)[1]) for line in served.samples()} or {0} for _ in range(100)]

    def export():
        for value in range(1, 300):
            time = NOON + value * SECOND
            served.export(*(frame(name, [value], time_unix_nano=time) for name in ("a", "b", "c")))

    with ThreadPoolExecutor(5) as pool:
        exporting = pool.submit(export)
        scrapers = list(pool.map(scrapes, range(4)))
        exporting.result(30)

    assert {} == served.drops
    for seen in scrapers:
        assert {1} == {len(values) for values in seen}
        assert sorted(max(values) for values in seen) == [max(values) for values in seen]


def test_the_page_ends_with_the_exporter(served):
    """After a reload another exporter may have the path."""
    served.exporter.shutdown()

    assert {} == served.context.routes.handlers


@given(counters_with_resets())
def test_the_page_always_holds_the_latest_value_of_every_row_ever_seen(ticks):
    """Rows appear, disappear and return; before they expire nothing is lost, and both parsers agree on the page."""
    served, latest = ServedExporter(), {}
    for tick in ticks:
        served.export(tick)
        names = tick.rows.columns["process.executable.name"].strings() if len(tick) else []
        latest.update(zip(names, tick.values.tolist(), strict=True))
        for parse, page in ((parse_text, served.page()), (parse_openmetrics, served.page(OPENMETRICS))):
            samples = [sample for family in parse(page) for sample in family.samples]

            assert latest == {sample.labels["process_executable_name"]: sample.value for sample in samples}
            assert len(latest) == len(samples)
    assert {} == served.drops
