# SPDX-License-Identifier: Apache-2.0
"""The exporter keeps the latest of every series, refuses what cannot stand on a page, and forgets what is gone."""

import gzip
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import ValidationError
from strategies import counters_with_resets

from ebpf_sidecar.exporters.exposition.press import FRESH_SECONDS
from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet, SidecarError, Temporality, Text
from ebpf_sidecar.pipeline.testing import NOON, FakeClock, check_contract, fake_context, frame

OPENMETRICS = {"accept": "application/openmetrics-text"}
SECOND = 1_000_000_000


class Served:
    """An exporter with the parts that a test looks at."""

    def __init__(self, settings=None, **parts):
        self.clock = FakeClock()
        self.context = fake_context(ComponentKind.EXPORTER, "prometheus", clock=self.clock, **parts)
        self.exporter = FACTORY.create(FACTORY.settings(**(settings or {})), self.context)
        self.exporter.start()

    def export(self, *frames):
        self.exporter.export(frames)

    def page(self, headers=None):
        return self.context.routes.get("/metrics", headers).body.decode()

    def samples(self):
        """Every sample of the page without comments, in order."""
        return [line for line in self.page().splitlines() if not line.startswith("#")]

    @property
    def drops(self):
        return dict(self.context.telemetry.drops)


@pytest.fixture
def served():
    """An exporter with default settings."""
    return Served()


def people(*names, first_id=0):
    """A row set with one row per name."""
    return RowSet.of([{"who": name} for name in names], first_id)


def test_the_contract_is_kept():
    """Start, stop, empty frames, unknown keys."""
    check_contract(
        FACTORY, {"endpoint": "127.0.0.1:9", "path": "/m", "const_labels": {"a": "b"}, "metric_expiration": "1m"}
    )


def test_the_latest_value_is_served(served):
    """Not a history."""
    rows = people("a", "b")
    served.export(frame("work.done", [1, 2], rows, time_unix_nano=NOON))
    served.export(frame("work.done", [3, 4], rows, time_unix_nano=NOON + SECOND))

    assert ['work_done_total{who="a"} 3', 'work_done_total{who="b"} 4'] == served.samples()
    assert {} == served.drops


def test_families_are_sorted_by_name(served):
    """Whatever order frames come in."""
    served.export(frame("b", [1]), frame("a", [2]))

    assert ["a_total 2", "b_total 1"] == served.samples()


def test_numbers_keep_their_precision(served):
    """Integers to 64 bits, floats to the last bit, and what is no number by its name."""
    served.export(
        frame("count", [2**64 - 1]),
        frame("gauge", [0.1, 1e-7, 1e300, np.inf, -np.inf, np.nan, 12.0], kind=Kind.GAUGE),
        frame("seconds", [1], kind=Kind.COUNTER).with_values(np.array([0.25])),
        frame("flag", [1], kind=Kind.GAUGE).with_values(np.array([True])),
    )

    values = [line.rsplit(" ", 1)[1] for line in served.samples()]
    assert ["18446744073709551615", "1", "0.1", "1e-07", "1e+300", "+Inf", "-Inf", "NaN", "12.0", "0.25"] == values


def test_histograms_are_accumulated_over_buckets(served):
    """Bounds are written the same in both formats, so that a series keeps its name."""
    served.export(frame("wait", [[1, 2, 3]], [{"op": "read"}], bounds=[0.001, 1], sums=[7.5], unit="s"))
    expected = [
        'wait_seconds_bucket{op="read",le="0.001"} 1',
        'wait_seconds_bucket{op="read",le="1.0"} 3',
        'wait_seconds_bucket{op="read",le="+Inf"} 6',
        'wait_seconds_sum{op="read"} 7.5',
        'wait_seconds_count{op="read"} 6',
    ]

    assert expected == served.samples()
    assert expected == [line for line in served.page(OPENMETRICS).splitlines() if not line.startswith("#")]


def test_an_infinite_last_bound_is_not_written_twice(served):
    """Two buckets up to infinity are one."""
    served.export(frame("wait", [[1, 2, 3]], bounds=[1, np.inf], sums=[7.5]))

    assert ['wait_bucket{le="1.0"} 1', 'wait_bucket{le="+Inf"} 6', "wait_sum 7.5", "wait_count 6"] == served.samples()


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


def test_rows_that_return_go_on(served):
    """There is one of them, with the new value."""
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
    served = Served({"metric_expiration": "10s"})
    served.export(frame("work", [1]))
    first = served.page()
    served.clock.advance(10.5)

    assert ("# TYPE work_total counter\nwork_total 1\n", "") == (first, served.page())


def test_two_sources_of_one_metric_stand_side_by_side(served):
    """Their rows have the same ids but are others; each export changes only its own."""
    left, right = people("a"), people("b")
    for number in range(3):
        time = NOON + number * SECOND
        served.export(frame("work", [number], left, time_unix_nano=time))
        served.export(frame("work", [10 + number], right, time_unix_nano=time))

    assert {'work_total{who="a"} 2', 'work_total{who="b"} 12'} == set(served.samples())
    assert {} == served.drops


def test_the_same_series_from_two_pipelines_is_counted(served):
    """The later one wins."""
    for value in (1, 2):
        served.export(frame("work", [value, value], people("a", "b")))

    assert ['work_total{who="a"} 2', 'work_total{who="b"} 2'] == served.samples()
    assert {"duplicate series": 2} == served.drops


def test_rows_whose_labels_collapse_are_counted(served):
    """A page with the same series twice would be refused as a whole."""
    served.export(frame("work", [1, 2, 3], people("a", "b", "a")))

    assert ['work_total{who="b"} 2', 'work_total{who="a"} 3'] == served.samples()
    assert {"duplicate series": 1} == served.drops


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (frame("work.total", [1.5], kind=Kind.GAUGE), 'needs the name "work_total", which "work_total" has'),
        (frame("target.info", [1.5], kind=Kind.GAUGE), 'needs the name "target_info", which "target_info" has'),
        (frame("wait.sum", [1.5], kind=Kind.GAUGE), 'needs the name "wait_sum", which "wait" has'),
        (frame("level", [[1, 2]], bounds=[1], sums=[1]), "is a gauge already"),
        (frame("level", [1], kind=Kind.UPDOWNCOUNTER), "is a gauge already"),
    ],
)
def test_a_metric_with_anothers_name_is_refused_counted_and_named_once(served, caplog, second, said):
    """All others stay on the page."""
    first = (frame("work", [1]), frame("wait", [[1, 2]], bounds=[1], sums=[1]), frame("level", [1], kind=Kind.GAUGE))
    served.export(*first)
    before = served.page()
    with caplog.at_level(logging.WARNING):
        served.export(second, second)
        served.export(second)

    assert before == served.page()
    assert 3 == sum(served.drops.values())
    [record] = caplog.records
    assert said in record.message


def test_a_metric_with_another_unit_is_another_metric(served):
    """The unit is part of its name."""
    served.export(frame("level", [1], kind=Kind.GAUGE, unit="s"), frame("level", [1], kind=Kind.GAUGE, unit="By"))

    assert ["level_bytes 1.0", "level_seconds 1.0"] == served.samples()


def test_without_suffixes_another_unit_is_refused(caplog):
    """One family cannot have two."""
    served = Served({"add_metric_suffixes": False})
    with caplog.at_level(logging.WARNING):
        served.export(frame("level", [1], kind=Kind.GAUGE, unit="s"), frame("level", [2], kind=Kind.GAUGE, unit="By"))

    assert ["level 1.0"] == served.samples()
    assert {"conflicting unit": 1} == served.drops
    assert ['metric "level" (gauge, unit "By") is left out: it has the unit "s" already; give it another name'] == [
        record.message for record in caplog.records
    ]


def test_one_family_that_cannot_be_written_does_not_take_others_off_the_page(served):
    """It is reported."""
    served.export(frame("a", [1]), frame("bad", [1], description=["no", "text"]), frame("b", [2]))

    assert ["a_total 1", "b_total 2"] == served.samples()
    assert ["rendering"] == [stage for stage, _ in served.context.telemetry.errors]


class Unspeakable:
    def __str__(self):
        raise RuntimeError("no text")


def test_a_frame_that_cannot_be_rendered_is_reported(served):
    """A plugin put an object among the attributes."""
    rows = RowSet(np.arange(1, dtype=np.uint64), {"odd": np.array([Unspeakable()], dtype=object)})
    served.export(frame("a", [1]), frame("bad", [1], rows), frame("b", [2]))

    assert ["a_total 1", "b_total 2"] == served.samples()
    assert {"cannot be rendered": 1} == served.drops
    assert [("sending", "no text")] == served.context.telemetry.errors


def test_new_bounds_replace_the_old_histogram(served):
    """Buckets of two kinds in one histogram would be nonsense."""
    served.export(frame("wait", [[1, 2], [1, 1]], people("a", "b"), bounds=[1]))
    served.export(frame("wait", [[1, 2, 3]], people("a"), bounds=[1, 2]))

    assert ["1.0", "2.0", "+Inf"] == [line.split('le="')[1].split('"')[0] for line in served.samples()[:-2]]


def test_deltas_are_added_up(served):
    """Prometheus wants totals since a start; a row that was away goes on."""
    delta = {"temporality": Temporality.DELTA}
    both, one = people("a", "b"), people("b", first_id=1)
    for rows, values in ((both, [1, 2]), (both, [1, 2]), (one, [10]), (both, [1, 2])):
        served.export(frame("work", values, rows, **delta))

    assert {'work_total{who="a"} 3', 'work_total{who="b"} 16'} == set(served.samples())


def test_deltas_of_histograms_are_added_up(served):
    """Buckets and sum."""
    for _ in range(3):
        served.export(frame("wait", [[1, 2]], bounds=[1], sums=[0.5], temporality=Temporality.DELTA))

    assert ['wait_bucket{le="1.0"} 3', 'wait_bucket{le="+Inf"} 9', "wait_sum 1.5", "wait_count 9"] == served.samples()


def test_one_bad_frame_does_not_take_others_off_the_page(served):
    """It is counted."""
    bad = frame("bad", [1], kind=Kind.GAUGE).with_values(np.array(["no number"], dtype=object))
    served.export(frame("a", [1]), bad, frame("b", [2]))

    assert ["a_total 1", "b_total 2"] == served.samples()
    assert {"no numbers": 1} == served.drops


def test_the_resource_stands_in_target_info():
    """First on the page, with every attribute."""
    served = Served(resource={"service.name": "s", "host.name": 'h"'})
    served.export(frame("a", [1]))

    assert served.page(OPENMETRICS).startswith(
        "# HELP target Target metadata\n# TYPE target info\n" r'target_info{host_name="h\"",service_name="s"} 1'
    )
    assert served.page().startswith("# HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{")


def test_resource_attributes_become_labels_where_asked_for():
    """Beside the row's own."""
    served = Served({"resource_to_telemetry_conversion": {"enabled": True}}, resource={"host.name": "h"})
    rows = people("a")
    served.export(frame("work", [1], rows), frame("other", [1], rows, resource={"host.name": "i"}))

    assert ['other_total{host_name="i",who="a"} 1', 'work_total{host_name="h",who="a"} 1'] == served.samples()[2:]


def test_each_resource_has_its_target_info_until_its_metrics_expire():
    """Frames may come from several."""
    served = Served(resource={"host.name": "h"})
    served.export(frame("a", [1]), frame("b", [1], resource={"host.name": "i"}))
    both = served.samples()[:2]
    served.clock.advance(200)
    served.export(frame("a", [1]))
    served.clock.advance(200)

    assert ['target_info{host_name="h"} 1', 'target_info{host_name="i"} 1'] == both
    assert ['target_info{host_name="h"} 1', "a_total 1"] == served.samples()


def test_labels_can_be_short_and_constant_ones_added():
    """As Kubernetes' own metrics call them."""
    served = Served({"label_names": "short", "const_labels": {"cluster": "blue"}})
    served.export(frame("work", [1], [{"k8s.pod.name": "p", "k8s.namespace.name": "n"}]))

    assert ['work_total{cluster="blue",namespace="n",pod="p"} 1'] == served.samples()


def test_a_constant_label_must_be_a_label():
    """The repair is shown."""
    with pytest.raises(ValidationError, match=r'"a\.b" cannot be a label; write "a_b"'):
        FACTORY.settings(const_labels={"a.b": "c"})


def test_timestamps_are_written_where_asked_for():
    """Milliseconds in 0.0.4, seconds in OpenMetrics; what vanished keeps the time at which it was read."""
    served = Served({"send_timestamps": True})
    served.export(frame("work", [1, 2], people("a", "b"), time_unix_nano=NOON))
    served.export(frame("work", [3], people("a"), time_unix_nano=NOON + 1_500_000_000))

    assert ['work_total{who="a"} 3 1767268801500', 'work_total{who="b"} 2 1767268800000'] == served.samples()
    assert 'work_total{who="a"} 3 1767268801.500\n' in served.page(OPENMETRICS)


def test_created_samples_are_written_where_asked_for():
    """OpenMetrics only, and off by default."""
    parts = {"start_time_unix_nano": NOON - SECOND // 2}
    frames = (frame("work", [1], **parts), frame("wait", [[1, 2]], bounds=[1], **parts))
    served, plain = Served({"created_timestamps": True}), Served()
    served.export(*frames)
    plain.export(*frames)

    assert "work_created 1767268799.500\n" in served.page(OPENMETRICS)
    assert "wait_created 1767268799.500\n" in served.page(OPENMETRICS)
    assert "_created" not in served.page() + plain.page(OPENMETRICS)


def test_names_can_do_without_suffixes():
    """In OpenMetrics, a counter's sample needs its ``_total`` all the same."""
    served = Served({"add_metric_suffixes": False})
    served.export(frame("io", [1], unit="By"))

    assert ["io 1"] == served.samples()
    assert "# TYPE io counter\nio_total 1\n# EOF\n" == served.page(OPENMETRICS)


OWN = {
    False: b"# HELP own_total Own\n# TYPE own_total counter\nown_total 5.0\n# TYPE up gauge\nup 1.0\n",
    True: b"# HELP own Own\n# TYPE own counter\nown_total 5.0\n# TYPE up gauge\nup 1.0\n",
}


def test_our_own_metrics_stand_at_the_end_of_the_page():
    """In either format, before the EOF."""
    served = Served(self_metrics=OWN.get)
    served.export(frame("work", [1]))

    assert "# TYPE work_total counter\nwork_total 1\n" + OWN[False].decode() == served.page()
    assert "# TYPE work counter\nwork_total 1\n" + OWN[True].decode() + "# EOF\n" == served.page(OPENMETRICS)


@pytest.mark.parametrize("headers", [{}, OPENMETRICS])
def test_families_of_our_own_metrics_that_use_a_taken_name_stay_outside(headers):
    """A family twice on a page would make it unreadable."""
    served = Served(self_metrics=OWN.get)
    served.export(frame("own", [1]))

    assert ["own_total 1", "up 1.0"] == [s for s in served.page(headers).splitlines() if not s.startswith("#")]
    assert 1 == served.page(headers).count("# TYPE own")


def test_the_page_is_served_even_when_our_own_metrics_fail():
    """The kernel's numbers matter more."""

    def fail(openmetrics):
        raise RuntimeError("broken")

    served = Served(self_metrics=fail)
    served.export(frame("work", [1]))

    assert ["work_total 1"] == served.samples()
    assert [("self metrics", "broken")] == served.context.telemetry.errors


def test_our_own_metrics_are_fresh_on_a_page_from_the_cache():
    """Plain and compressed; the compressed page is one gzip member, which every client can read."""
    calls = iter(range(1, 100))
    served = Served(self_metrics=lambda openmetrics: b"# TYPE calls gauge\ncalls %d\n" % next(calls))
    served.export(frame("work", list(range(100))))
    plain, packed = served.page().splitlines(), []
    for _ in range(2):
        served.clock.advance(FRESH_SECONDS)
        packed.append(served.context.routes.get("/metrics", {"accept-encoding": "gzip"}).body)

    assert "calls 1" == plain[-1]
    assert [b"calls 2", b"calls 3"] == [gzip.decompress(page).splitlines()[-1] for page in packed]
    assert plain[:-1] == gzip.decompress(packed[1]).decode().splitlines()[:-1]


def test_scrapers_that_come_together_share_one_page_in_memory(served):
    """However slowly they read it; an export makes a new one at once."""
    served.export(frame("work", [1]))
    for headers in ({}, OPENMETRICS, {"accept-encoding": "gzip"}):
        pages = [served.context.routes.get("/metrics", headers).body for _ in range(3)]

        assert pages[0] is pages[1] is pages[2]
    served.export(frame("work", [2], time_unix_nano=NOON + SECOND))

    assert ["work_total 2"] == served.samples()


def test_our_own_target_info_does_not_stand_there_twice():
    """The SDK's reader may bring one."""
    own = b"# TYPE target_info gauge\ntarget_info 1\n"
    served = Served(self_metrics=lambda openmetrics: own, resource={"a": "b"})

    assert ['target_info{a="b"} 1'] == served.samples()


def test_the_answer_says_what_it_is(served):
    """Type, encoding, and what it depends on."""
    answer = served.context.routes.get("/metrics", {**OPENMETRICS, "accept-encoding": "gzip"})

    assert {
        "Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "Content-Encoding": "gzip",
        "Vary": "Accept, Accept-Encoding",
    } == answer.headers
    assert b"# EOF\n" == gzip.decompress(answer.body)
    assert "text/plain; version=0.0.4; charset=utf-8" == served.context.routes.get("/metrics").headers["Content-Type"]


def test_many_scrapes_between_exports_cost_one_rendering(served, monkeypatch):
    """Each format is rendered when it is first asked for after an export."""
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
    """Scrapers that come while frames are exported never see half a batch, nor a counter that falls."""

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


def test_a_row_that_is_enriched_gets_its_new_labels(served):
    """The series without them is kept until it expires: to Prometheus it is another one."""
    ids = np.arange(1, dtype=np.uint64)
    served.export(frame("work", [1], RowSet(ids, {"container.id": Text.of([""])}), time_unix_nano=NOON))
    served.export(frame("work", [2], RowSet(ids, {"container.id": Text.of(["c"])}), time_unix_nano=NOON + SECOND))

    assert ['work_total{container_id="c"} 2', "work_total 1"] == served.samples()


def test_two_exporters_cannot_have_the_same_page(served):
    """The second one does not start."""
    second = FACTORY.create(FACTORY.settings(), served.context)

    with pytest.raises(SidecarError, match="is taken"):
        second.start()


def test_the_page_ends_with_the_exporter(served):
    """After a reload another exporter may have the path."""
    served.exporter.shutdown()

    assert {} == served.context.routes.handlers


def test_a_hundred_thousand_rows_are_served(served):
    """Each exactly once."""
    count = 100_000
    codes = np.arange(count, dtype=np.int32)
    rows = RowSet(codes.astype(np.uint64), {"container.id": Text(codes, tuple(f"{n:x}" for n in range(count)))})
    served.export(frame("work", [0], [{}]), frame("work.rows", [1], [{}], kind=Kind.COUNTER))
    served.export(frame("many", np.arange(count), rows))
    lines = served.samples()

    assert count + 2 == len(lines)
    assert 'many_total{container_id="1869f"} 99999' in lines
    assert {} == served.drops


@given(counters_with_resets())
def test_the_page_always_holds_the_latest_value_of_every_row_ever_seen(ticks):
    """Rows come, go and return; within the expiry nothing is lost, and both parsers agree on the page."""
    served, latest = Served(), {}
    for tick in ticks:
        served.export(tick)
        names = tick.rows.columns["process.executable.name"].strings() if len(tick) else []
        latest.update(zip(names, tick.values.tolist(), strict=True))
        for parse, page in ((parse_text, served.page()), (parse_openmetrics, served.page(OPENMETRICS))):
            samples = [sample for family in parse(page) for sample in family.samples]

            assert latest == {sample.labels["process_executable_name"]: sample.value for sample in samples}
            assert len(latest) == len(samples)
    assert {} == served.drops
