# SPDX-License-Identifier: Apache-2.0
"""A page has a limit: it is warned of before it is reached, and what finds no room is counted and named."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_exporter import OPENMETRICS, SECOND, ServedExporter, people
from strategies import frames

from ebpf_sidecar.pipeline import RowSet
from ebpf_sidecar.pipeline.testing import NOON, frame

USED, SIZE = "ebpf_sidecar.exporter.page_series", "ebpf_sidecar.exporter.page_size"
USES_CREATED = {"accept": "application/vnd.google.protobuf;q=0.6,application/openmetrics-text;q=0.5"}


def limited(series=None, size=None, **more):
    """An exporter with a limit of either kind."""
    return ServedExporter({"page_limit": {"series": series or 10**6, "size": size or "1GiB"}, **more})


def work(served, *names, second=0):
    """Export a counter with a row per name; the same name is the same row."""
    rows = RowSet(np.array([int(name, 36) for name in names], np.uint64), people(*names).columns)
    served.export(frame("work", [7] * len(names), rows, time_unix_nano=NOON + second * SECOND))


def lines(page):
    """Samples, without those of the resource."""
    return [line for line in page.split("\n") if line and not line.startswith(("#", "target_info"))]


def read(served, name):
    """What a gauge of the exporter shows."""
    return served.context.telemetry.gauges[name]()


@given(
    st.lists(frames(), max_size=4, unique_by=lambda each: each.name),
    st.booleans(),
    st.sampled_from([False, True, "auto"]),
)
def test_the_size_is_never_below_what_is_served(exported, timestamps, created):
    """Series exactly, bytes with every number at its longest, whatever the text, in either format."""
    served = ServedExporter({"send_timestamps": timestamps, "created_timestamps": created})
    served.export(*exported)
    served.export()
    pages = [served.page(accepted) for accepted in (None, OPENMETRICS, USES_CREATED)]
    names = ((line, line.partition("{")[0].partition(" ")[0]) for line in lines(pages[1]))
    series = [line for line, name in names if created is not False or not name.endswith("_created")]

    assert len(series) == read(served, USED)
    assert max(len(page.removesuffix("# EOF\n").encode()) for page in pages) <= read(served, SIZE)


@given(st.lists(frames(), max_size=4, unique_by=lambda each: each.name), st.integers(1, 60), st.integers(1, 6000))
def test_a_page_never_has_more_than_its_limit(exported, series, size):
    """Of either kind; omitted series are counted."""
    served = limited(series, size)
    for _ in range(2):
        served.export(*exported)
    page = served.page()

    assert len(lines(page)) <= series
    assert len("".join(f"{line}\n" for line in lines(page)).encode()) <= size
    assert set(served.drops) <= {"page limit", "duplicate series", "conflicting name", "conflicting type"}


def test_the_size_of_an_ordinary_line_is_hardly_overestimated():
    """Numbers are a small part of a line, so a limit in bytes is fairly accurate."""
    served = ServedExporter({"created_timestamps": False})
    attributes = {"container.id": "f" * 64, "k8s.pod.uid": "e" * 36, "process.executable.name": "postgres"}
    served.export(frame("ebpf.syscall.io", [123], [attributes], unit="By"))
    served.export(frame("ebpf.syscall.io", [123], [attributes], unit="By"))

    assert 1 <= read(served, SIZE) / len(served.page().encode()) < 1.7


@pytest.mark.parametrize(("series", "size"), [(2, None), (None, 250)])
def test_a_full_page_keeps_the_series_that_it_has(series, size):
    """New ones do not fit, in whatever order they arrive; each is counted at each export."""
    served = limited(series, size)
    work(served, "a", "b")
    work(served, "c", "a", "b", second=1)
    for second in (2, 3):
        work(served, "d", "a", second=second)

    assert {'work_total{who="a"} 7', 'work_total{who="b"} 7'} == set(served.samples())
    assert {"page limit": 3} == served.drops


def test_a_histogram_needs_room_for_all_of_its_lines():
    """Two buckets, sum and count: all or nothing."""
    served = limited(9)
    served.export(frame("wait", [[1, 2]] * 3, people("a", "b", "c"), bounds=[1]))

    assert 8 == len(served.samples())
    assert {"page limit": 1} == served.drops


def test_there_is_room_again_when_series_have_expired(caplog):
    """Series that were left out appear with their full counts."""
    served = limited(2)
    work(served, "a", "b")
    work(served, "c", second=1)
    with caplog.at_level(logging.INFO):
        served.clock.advance(400)
        work(served, "c", second=401)
        work(served, "c", second=402)

    assert ['work_total{who="c"} 7'] == served.samples()
    assert any("has room again" in record.message for record in caplog.records)


def test_the_log_warns_before_the_page_is_full_and_when_it_is(caplog):
    """Once each, with what to do."""
    served = limited(10)
    with caplog.at_level(logging.WARNING):
        for count in (7, 8, 9, 10, 10, 12, 13):
            work(served, *map(str, range(count)), second=count)
    said = [record.message for record in caplog.records]

    assert 2 == len(said)
    assert said[0].startswith("the page is nearly full (8 of 10 series, 0.0 of 1024.0 MiB)")
    assert said[1].startswith("the page is full (10 of 10 series, 0.0 of 1024.0 MiB): 2 new series are left out")
    assert all("raise page_limit, let more" in each for each in said)


def test_a_page_that_stays_about_the_threshold_is_warned_of_once(caplog):
    """Again only after it was clearly below."""
    served = limited(10)
    with caplog.at_level(logging.WARNING):
        for second, count in enumerate((8, 7, 8, 2, 8)):
            served.clock.advance(400)
            served.export()
            work(served, *map(str, range(count)), second=400 * second)

    assert ["the page is nearly full (8 of 10 series"] * 2 == [
        each.message.partition(",")[0] for each in caplog.records
    ]


def test_size_and_limits_are_among_the_services_own_metrics():
    """For an alert on their ratio."""
    served = limited(10, "1KiB")
    work(served, "a", "b")

    assert (2, 10) == (read(served, USED), read(served, f"{USED}_limit"))
    assert 2 * len('work_total{who="a"} 7\n') < read(served, SIZE) < read(served, f"{SIZE}_limit") == 1024
