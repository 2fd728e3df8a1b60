# SPDX-License-Identifier: Apache-2.0
"""Percentages from counters: of the same moment, the same rows, and never out of range."""

import pytest
from rate_processor import OWNERS, SECOND, at, made, page_cache, run

from ebpf_sidecar.pipeline import Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.testing import NOON


def test_the_hit_rate_is_about_pages_that_reads_requested():
    """Misses over attempts, both of the interval."""
    before, after = page_cache(0, [100, 50], [20, 7]), page_cache(10, [300, 54], [70, 11])

    expected = {"ebpf.cache.miss_rate": {"dd": 25.0, "sh": 100.0}, "ebpf.cache.hit_rate": {"dd": 75.0, "sh": 0.0}}

    assert expected == run(made(), before, after)


def test_faults_on_mapped_files_have_rates_of_their_own():
    """A program that maps its files and reads next to nothing has no misleading hit rate."""
    counts = {"ebpf.cache.mapped_faults": 4096, "ebpf.cache.mapped_misses": 1024}
    ticks = [
        [*page_cache(s, [s, 0], [0, 0]), *(at(s, name, [s * count, 0]) for name, count in counts.items())]
        for s in (1, 2)
    ]

    rates = run(made(), *ticks)

    assert {"dd": 100.0} == rates["ebpf.cache.hit_rate"]
    assert ({"dd": 25.0}, {"dd": 75.0}) == (rates["ebpf.cache.mapped_miss_rate"], rates["ebpf.cache.mapped_hit_rate"])


def test_parts_in_other_row_sets_are_matched_by_attributes():
    """Success counted elsewhere, in other rows and another order, is divided by the calls of the same executable."""
    others = RowSet.of([{"process.executable.name": name} for name in ("gone", "sh", "dd")], first_id=50)
    ticks = [
        [
            at(second, "ebpf.fadvise.calls", [10 * second, 4 * second]),
            at(second, "ebpf.fadvise.success", [9 * second, 3 * second, 5 * second], others),
        ]
        for second in (1, 2)
    ]

    assert {"ebpf.fadvise.success_rate": {"dd": 50.0, "sh": 75.0}} == run(made(), *ticks)


def test_counters_that_do_not_move_in_step_never_make_a_rate_leave_its_range():
    """More misses than attempts, as in recordings of former versions, are 100 %, not 400 %."""
    before, after = page_cache(0, [0, 0], [0, 0]), page_cache(1, [8, 8], [32, 0])

    expected = {"ebpf.cache.miss_rate": {"dd": 100.0, "sh": 0.0}, "ebpf.cache.hit_rate": {"dd": 0.0, "sh": 100.0}}

    assert expected == run(made(), before, after)


@pytest.mark.parametrize("missing", ["ebpf.cache.read_attempts", "ebpf.cache.misses"])
def test_a_percentage_without_its_counters_is_absent(missing):
    """A probe that is not attached makes no percentage, neither 0 nor 100."""
    ticks = [page_cache(s, [s, s], [s, s]) for s in (1, 2)]

    assert {} == run(made(), *[[f for f in frames if f.name != missing] for frames in ticks])


def test_nothing_read_means_no_hit_rate():
    """In an interval without reads the percentages are absent."""
    same = [page_cache(second, [9, 9], [3, 3]) for second in (0, 1)]

    assert {} == run(made(), *same)


def test_the_other_percentages():
    """Fadvise succeeds in part, and reclaim frees a share of what it scans, each by its own attributes."""
    reclaim = RowSet.of([{"process.executable.name": "dd", "reclaimer": "kswapd"}])
    ticks = [
        [
            at(second, "ebpf.fadvise.calls", [23 * second, 0]),
            at(second, "ebpf.fadvise.success", [0, 0]),
            at(second, "ebpf.memory.lru.pages_scanned", [200 * second], reclaim),
            at(second, "ebpf.memory.lru.pages_reclaimed", [50 * second], reclaim),
        ]
        for second in (1, 2)
    ]

    expected = {"ebpf.fadvise.success_rate": {"dd": 0.0}, "ebpf.memory.reclaim_efficiency": {"dd": 25.0}}

    assert expected == run(made(), *ticks)


def test_percentages_can_be_left_out():
    """percentages: false makes none."""
    ticks = [page_cache(second, [second, second], [0, 0]) for second in (1, 2)]

    assert {} == run(made(percentages=False), *ticks)


def test_a_percentage_is_a_complete_metric():
    """Unit, kind, time, resource and scope make a good metric of it."""
    resource = {"host.name": "a"}
    processor = made()
    for second in (1, 2):
        frames = [at(second, f"ebpf.fadvise.{n}", [second, second], resource=resource) for n in ("calls", "success")]
        [*_, rate] = processor.process(frames)

    assert ("%", Kind.GAUGE, Temporality.UNSPECIFIED) == (rate.unit, rate.kind, rate.temporality)
    assert (NOON + 2 * SECOND, resource, 0) == (rate.time_unix_nano, rate.resource, rate.start_time_unix_nano)
    assert rate.description
    assert rate.rows is OWNERS


def test_resources_are_not_mixed():
    """Calls of one machine are not divided by those of another."""
    ticks = [
        [
            at(second, "ebpf.fadvise.calls", [second, 0], resource={"host.name": "a"}),
            at(second, "ebpf.fadvise.success", [second, 0], resource={"host.name": "b"}),
        ]
        for second in (1, 2)
    ]

    assert {} == run(made(), *ticks)


def test_a_subset_is_the_same_object_while_its_rows_are_the_same():
    """What is rendered for the rows with reads stays of use until other rows read."""
    processor = made()
    seen = []
    for second, attempts in enumerate([[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]]):
        added = processor.process(page_cache(second, attempts, [0, 0]))[2:]
        seen.append([frame.rows for frame in added])

    assert 1 == len({id(rows) for tick in seen[1:4] for rows in tick})
    assert seen[3][0] is not seen[4][0]
    assert [{"process.executable.name": "sh"}] == seen[4][0].records()
