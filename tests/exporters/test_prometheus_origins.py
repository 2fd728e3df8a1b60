# SPDX-License-Identifier: Apache-2.0
"""Several receivers on one page."""

import gc
import logging
from dataclasses import replace
from weakref import ref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from served_exporter import SECOND, ServedExporter, people

from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet
from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.testing import NOON, fake_context, frame
from ebpf_sidecar.processors.container import ContainerProcessor, ContainerSettings
from ebpf_sidecar.processors.rate import RateProcessor, RateSettings

PAIRS = (
    ("ebpf.fadvise.calls", "ebpf.fadvise.success"),
    ("ebpf.memory.lru.pages_scanned", "ebpf.memory.lru.pages_reclaimed"),
    ("ebpf.cache.misses",),
    (),
)
LEFT, RIGHT = (ComponentId(ComponentKind.RECEIVER, "r", name) for name in ("left", "right"))


def work(value, rows, source, **parts):
    """A counter of a receiver, read at the second that is its value."""
    parts = {"time_unix_nano": NOON + value * SECOND} | parts
    return frame("work", [value] * len(rows), rows, source=source, **parts)


def test_two_receivers_of_one_metric_are_shown_side_by_side(served):
    """Their rows have the same ids but are others; each export changes only its own."""
    left, right = people("a"), people("b")
    for number in range(3):
        served.export(work(number, left, LEFT))
        served.export(work(10 + number, right, RIGHT))

    assert {'work_total{who="a"} 2', 'work_total{who="b"} 12'} == set(served.samples())
    assert {} == served.drops


def test_two_frames_of_one_reading_are_shown_side_by_side(served):
    """A receiver may show a metric in two parts; the second does not replace the first, whatever their row ids."""
    for number in range(3):
        served.export(work(number, people("a"), LEFT), work(number, people("b"), LEFT))

    assert {'work_total{who="a"} 2', 'work_total{who="b"} 2'} == set(served.samples())
    assert {} == served.drops


def test_of_two_receivers_with_the_same_labels_the_first_keeps_the_series(served):
    """The other's points are counted: one value and then the other would look like restarts."""
    for number in range(3):
        served.clock.advance(1)
        served.export(work(10 + number, people("a", "b"), LEFT))
        served.export(work(number, people("b", "c", "x"), RIGHT))
        seen = set(served.samples())

    assert {f'work_total{{who="{who}"}} {value}' for who, value in zip("abcx", (12, 12, 2, 2), strict=True)} == seen
    assert {"duplicate series": 3} == served.drops


def test_two_receivers_with_the_same_labels_are_named_once(served, caplog):
    """Not for each metric that both have, nor for each batch."""
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            for source in (LEFT, RIGHT):
                time = NOON + number * SECOND
                served.export(*(frame(name, [number], source=source, time_unix_nano=time) for name in ("work", "more")))

    assert [
        'receiver "r/right": series with labels that receiver "r/left" uses already are left out (metric "work" '
        "and perhaps others); add an attribute to the rows of one of them, or use an exporter for each"
    ] == [record.message for record in caplog.records]


def test_a_receiver_that_stopped_leaves_its_series_to_the_other(served):
    """Long before they expire; a slower one does not get them back."""
    served.export(work(1, people("a", "b"), LEFT))
    for number in (5, 6, 7):
        served.clock.advance(1)
        served.export(work(number, people("b"), RIGHT))
    taken_over = served.samples()
    served.clock.advance(1)
    served.export(work(8, people("b"), RIGHT))
    served.export(work(2, people("a", "b"), LEFT))

    assert {'work_total{who="a"} 1', 'work_total{who="b"} 7'} == set(taken_over)
    assert {'work_total{who="a"} 2', 'work_total{who="b"} 8'} == set(served.samples())
    assert {"duplicate series": 2} == served.drops


def test_a_row_that_went_away_leaves_its_labels_to_another_receiver(served):
    """Series that are only kept for a while do not block those that are reported."""
    served.export(work(1, people("a", "b"), LEFT))
    served.export(work(2, people("a"), LEFT))
    served.export(work(5, people("b"), RIGHT))

    assert {'work_total{who="a"} 2', 'work_total{who="b"} 5'} == set(served.samples())
    assert {} == served.drops


def test_another_receivers_buckets_do_not_throw_a_histogram_out(served):
    """The second receiver's are refused, counted and named."""
    served.export(frame("wait", [[1, 2]], people("a"), bounds=[1], source=LEFT))
    served.export(frame("wait", [[1, 2, 3]], people("b"), bounds=[1, 2], source=RIGHT))

    assert 3 == len([line for line in served.samples() if 'who="a"' in line and "_sum" not in line])
    assert {"conflicting bounds": 1} == served.drops


STEPS = st.lists(
    st.tuples(st.booleans(), st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abcd")), unique_by=lambda r: r[1])),
    max_size=10,
)


@given(STEPS)
def test_receivers_with_other_labels_never_influence_each_other(steps):
    """The page of both equals the combined pages of each alone, whatever appears, disappears and is renamed."""
    together, alone = ServedExporter(), {LEFT: ServedExporter(), RIGHT: ServedExporter()}
    for second, (is_left, described) in enumerate(steps):
        source = LEFT if is_left else RIGHT
        unique = list({id_: (id_, label) for id_, label in described}.values())
        labels = [{"who": f"{source}{label}"} for _, label in unique]
        rows = RowSet(np.array([id_ for id_, _ in unique], np.uint64), RowSet.of(labels).columns)
        for served in (together, alone[source]):
            served.export(work(second, rows, source))

        assert sorted(together.samples()) == sorted(line for served in alone.values() for line in served.samples())
    assert {} == together.drops


@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from("abc"), min_size=1)), max_size=12))
def test_no_series_is_ever_twice_on_the_page(steps):
    """Prometheus would refuse the whole page."""
    served = ServedExporter()
    for second, (is_left, names) in enumerate(steps):
        served.clock.advance(1)
        served.export(work(second, people(*sorted(names)), LEFT if is_left else RIGHT))
        series = [line.rsplit(" ", 1)[0] for line in served.samples()]

        assert len(set(series)) == len(series)


def test_nothing_is_kept_of_resources_metrics_and_refusals_that_are_gone(served, caplog):
    """They come and go; each refused metric is logged, up to a limit."""
    with caplog.at_level(logging.WARNING):
        for number in range(400):
            resource = {"host.name": str(number)}
            bad = frame(f"bad{number}", [1]).with_values(np.array(["no number"], dtype=object))
            served.export(frame("work", [1], people(str(number)), resource=resource), bad)
            served.clock.advance(1)
    exporter = served.exporter

    assert 100 <= len(caplog.records) < 300
    assert len(exporter._logged) <= 300
    assert len(exporter._resources) <= 302
    served.clock.advance(1000)
    served.page()
    assert ({}, {}, []) == (exporter._logged, exporter._resources, list(exporter._families))


def test_memory_is_that_of_the_row_sets_that_are_shown(served):
    """Through processors and exporter: other rows in each tick, metrics that appear once, and two receivers."""
    context = fake_context(ComponentKind.PROCESSOR, "p")
    processors = ContainerProcessor(ContainerSettings(), context), RateProcessor(RateSettings(metrics=["*"]), context)
    watched = []
    for tick in range(20):
        for source in (LEFT, RIGHT):
            rows, causes = people(str(tick), f"{source}", first_id=tick), RowSet.of([{"cause": "read"}], tick)
            watched += [ref(rows), ref(causes)]
            frames = [frame(f"work{tick}", [1, 1], rows), frame("level", [tick, np.nan], rows, kind=Kind.UPDOWNCOUNTER)]
            frames += [frame(name, [tick, 0], rows) for name in PAIRS[tick % 4]]
            frames += [frame("ebpf.page_cache.adds", [tick], causes), frame("ebpf.cache.read_attempts", [tick], causes)]
            frames = [replace(each, source=source, time_unix_nano=NOON + tick * SECOND) for each in frames]
            for processor in processors:
                frames = processor.process(frames)
            served.export(*frames)
            del rows, causes, frames
    gc.collect()

    assert sum(each() is not None for each in watched) <= 4
