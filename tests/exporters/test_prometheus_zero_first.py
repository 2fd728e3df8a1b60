# SPDX-License-Identifier: Apache-2.0
"""A new series is 0 until it was scraped, so that Prometheus's increase() includes all that it counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served_exporter import OPENMETRICS, SECOND, ServedExporter

from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet, Temporality, Text
from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.testing import NOON, frame

SOURCES = [ComponentId(ComponentKind.RECEIVER, "r", name) for name in ("left", "right")]


class Counting:
    """A receiver that counts, on a page. Rows are named after their ids; each counts since the reading before."""

    def __init__(self, served, source=SOURCES[0], **parts):
        self.served, self.source, self.parts = served, source, parts
        self.second, self.starts, self.totals, self.names = 1, {}, {}, {}

    def counts(self, id_, amount):
        """Something happens; it is reported with the next reading."""
        self.starts.setdefault(id_, NOON + (self.second - 1) * SECOND if self.second > 1 else NOON)
        self.totals[id_] = self.totals.get(id_, 0) + amount

    def tick(self, shown=None):
        """A reading, of all rows or of those ``shown``."""
        ids = [id_ for id_ in self.totals if shown is None or id_ in shown]
        names = [self.names.get(id_, f"{self.source.name}{id_}") for id_ in ids]
        rows = RowSet(np.array(ids, np.uint64), {"who": Text.of(names)})
        values, parts = [self.totals[id_] for id_ in ids], dict(self.parts)
        if "bounds" in parts:
            values = np.array([[value, 0] for value in values], np.uint64).reshape(-1, 2)
            parts["sums"] = [float(self.totals[id_]) for id_ in ids]
        starts = np.array([self.starts[id_] for id_ in ids], np.uint64)
        moment = NOON + self.second * SECOND
        self.second += 1
        other = frame(f"level.{self.source.name}", [1], kind=Kind.GAUGE, time_unix_nano=moment, source=self.source)
        parts |= {"time_unix_nano": moment, "source": self.source, "start_time_unix_nano": starts}
        self.served.export(other, *([frame("work", values, rows, **parts)] if ids else []))


def shown(served, headers=None):
    """What the page shows by label: all samples of a series that are alike once."""
    found = {}
    for line in served.page(headers).splitlines():
        if line.startswith("work") and "_created" not in line:
            found.setdefault(line.split('"')[1], set()).add(float(line.rsplit(" ", 1)[1]))
    assert all(len(values) == 1 for values in found.values())
    return {who: values.pop() for who, values in found.items()}


def test_a_new_series_is_zero_until_the_reading_after_a_scrape():
    """However long that takes, up to two readings."""
    served = ServedExporter()
    receiver = Counting(served)
    receiver.counts(1, 500)
    receiver.tick()
    seen = [shown(served), shown(served)]
    receiver.counts(2, 7)
    receiver.tick()
    seen.append(shown(served))
    receiver.tick()

    assert [{"left1": 0}, {"left1": 0}, {"left1": 500, "left2": 0}] == seen
    assert {"left1": 500, "left2": 7} == shown(served)


def test_without_a_scrape_a_value_is_shown_after_two_readings():
    """A scraper with a longer interval sees the value at once, like others."""
    served = ServedExporter()
    receiver = Counting(served)
    receiver.counts(1, 500)
    for _ in range(3):
        receiver.tick()

    assert {"left1": 500} == shown(served)


@pytest.mark.parametrize("scraped", [True, False])
def test_what_is_gone_by_the_next_reading_shows_its_value_afterwards(scraped):
    """A process that lived for a second, and a page that expires series within two readings."""
    served = ServedExporter({"metric_expiration": "1500ms"})
    receiver = Counting(served)
    receiver.counts(1, 500)
    receiver.tick()
    for reading in range(2):
        if scraped or reading:
            assert {"left1": 0} == shown(served)
        served.clock.advance(1)
        receiver.tick(shown=())
        if scraped:
            break

    assert {"left1": 500} == shown(served)
    served.clock.advance(1)
    receiver.tick(shown=())
    assert {"left1": 500} == shown(served)
    served.clock.advance(1)
    receiver.tick(shown=())
    assert {} == shown(served)


def test_a_value_that_appears_later_has_a_later_time():
    """Prometheus refuses a second value for the same time."""
    served = ServedExporter({"send_timestamps": True})
    receiver = Counting(served)
    receiver.counts(1, 500)
    receiver.tick()
    before = [line for line in served.samples() if "left1" in line]
    receiver.tick(shown=())

    assert [f'work_total{{who="left1"}} 0 {NOON // 10**6 + 1000}'] == before
    assert f'work_total{{who="left1"}} 500 {NOON // 10**6 + 2000}' in served.samples()


def test_counts_older_than_the_page_are_not_new():
    """A kernel counter since boot, or a page that is created later: 0 first would count everything again."""
    served = ServedExporter()
    served.export(frame("work", [500], [{"who": "a"}], start_time_unix_nano=NOON - SECOND))
    served.export(frame("unknown", [500], [{"who": "a"}]))

    assert {"a": 500} == shown(served)
    assert 'unknown_total{who="a"} 500' in served.samples()


def test_a_row_that_returns_continues_with_its_value():
    """It was withdrawn and expired; Prometheus still has its last value, and 0 would look like a restart."""
    served = ServedExporter()
    receiver = Counting(served)
    receiver.counts(1, 500)
    for _ in range(3):
        receiver.tick()
    served.clock.advance(1000)
    receiver.tick(shown=())
    gone = shown(served)
    receiver.counts(1, 5)
    receiver.tick()

    assert ({}, {"left1": 505}) == (gone, shown(served))


@pytest.mark.parametrize("scrapes", [1, 2, 3])
def test_a_row_that_is_given_another_name_is_counted_once(scrapes):
    """Under the old name or under the new one: 0 first only where its value was not shown yet."""
    served, highest = ServedExporter(), {}
    receiver = Counting(served)
    receiver.counts(1, 500)
    receiver.tick()
    for scrape in range(4):
        if scrape == scrapes:
            receiver.names[1] = "full-name"
        if scrape:
            receiver.tick()
        for who, value in shown(served).items():
            first, last = highest.get(who, (value, value))
            highest[who] = first, max(last, value)

    assert 500 == sum(last - first for first, last in highest.values())


def test_values_are_shown_when_the_receiver_falls_silent():
    """No reading is expected after three intervals; nor is one if there never was a second."""
    for readings, seconds in ((2, 3.0), (1, 300.0)):
        served = ServedExporter()
        receiver = Counting(served)
        for _ in range(readings):
            receiver.tick(shown=())
        receiver.counts(1, 500)
        receiver.second -= readings == 1
        receiver.tick()
        served.clock.advance(seconds)
        before = shown(served)
        served.clock.advance(0.1)

        assert ({"left1": 0}, {"left1": 500}) == (before, shown(served))


def test_gauges_show_what_they_measured_at_once():
    """And counters of a page that is configured not to wait."""
    parts = {"time_unix_nano": NOON + SECOND, "start_time_unix_nano": NOON}
    served, at_once = ServedExporter(), ServedExporter({"start_at_zero": False})
    for each in (served, at_once):
        each.export(frame("level", [3], kind=Kind.UPDOWNCOUNTER, **parts), frame("work", [5], **parts))

    assert ["level 3.0", "work_total 0"] == served.samples()
    assert ["level 3.0", "work_total 5"] == at_once.samples()


def test_deltas_start_at_zero_too():
    """Whatever is added meanwhile is shown later."""
    served = ServedExporter()
    for second in range(1, 4):
        parts = {"time_unix_nano": NOON + second * SECOND, "start_time_unix_nano": NOON + (second - 1) * SECOND}
        served.export(frame("work", [5], [{"who": "a"}], temporality=Temporality.DELTA, **parts))
        seen = shown(served)

        assert {"a": 0 if second == 1 else 5 * second} == seen


KINDS = st.sampled_from([{}, {"bounds": [np.inf]}])


@given(st.data(), KINDS)
@settings(max_examples=60)
def test_a_value_is_zero_or_correct_is_correct_in_time_and_never_falls(data, parts):
    """For two receivers, rows that come, go and return, and scrapes at any time."""
    served = ServedExporter()
    receivers = [Counting(served, source, **parts) for source in SOURCES]
    ticks, born, scraped, last = [0, 0], {}, {}, {}
    for _ in range(data.draw(st.integers(0, 25))):
        served.clock.advance(0.01)
        which = data.draw(st.sampled_from([0, 1, None, None]))
        if which is not None:
            receiver = receivers[which]
            ticks[which] += 1
            for id_, amount in data.draw(st.dictionaries(st.integers(1, 4), st.integers(1, 9))).items():
                receiver.counts(id_, amount)
                born.setdefault((which, id_), ticks[which])
            gone = data.draw(st.sets(st.integers(1, 4)))
            receiver.tick(shown={id_ for id_ in receiver.totals if id_ not in gone or ticks[which] == born[which, id_]})
            continue
        seen = shown(served, OPENMETRICS if data.draw(st.booleans()) else None)
        assert len(born) == len(seen)
        for (which, id_), birth in born.items():
            value = seen[f"{SOURCES[which].name}{id_}"]
            reading = scraped.setdefault((which, id_), ticks[which])

            assert value >= last.get((which, id_), 0)
            if ticks[which] > reading or ticks[which] - birth >= 2:
                assert value > 0
            else:
                assert value == 0
            last[which, id_] = value
    for receiver in receivers:
        receiver.tick()
        receiver.tick()
    truth = {f"{r.source.name}{id_}": total for r in receivers for id_, total in r.totals.items()}
    assert truth == shown(served)
    assert {} == served.drops


ACTS = st.dictionaries(st.integers(1, 4), st.integers(1, 9))


@given(st.lists(st.tuples(ACTS, st.sets(st.integers(1, 4)), st.booleans(), st.integers(0, 2)), max_size=12), KINDS)
@settings(max_examples=60)
def test_a_scraper_of_each_reading_sees_everything_as_increases(readings, parts):
    """Whatever is new, idle, withdrawn and expired, and returns; however many others look, too."""
    served, last, increases, withdrawn = ServedExporter(), {}, 0, set()
    receiver = Counting(served, **parts)
    for acts, idle, expires, others in [*readings, *[({}, set(), False, 0)] * 3]:
        for id_, amount in acts.items():
            receiver.counts(id_, amount)
        withdrawn = (withdrawn | idle) - acts.keys()
        served.clock.advance(1000 if expires else 0.01)
        receiver.tick(shown=receiver.totals.keys() - withdrawn)
        for _ in range(1 + others):
            for who, value in shown(served).items():
                increases += value - last.get(who, value)
                last[who] = value

    assert sum(receiver.totals.values()) == increases
    assert {} == served.drops
