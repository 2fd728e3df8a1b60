# SPDX-License-Identifier: Apache-2.0
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.testing import NOON, RecordedTelemetry, check_contract, fake_context, frame
from ebpf_sidecar.processors.rate import RateProcessor, RateSettings, register_components

[FACTORY] = register_components()
SECOND = 1_000_000_000
OWNERS = RowSet.of([{"process.executable.name": name} for name in ("dd", "sh")])
CAUSES = [
    {"process.executable.name": name, "cause": cause} for name in ("sh", "dd") for cause in ("read", "mmap", "write")
]
READS = RowSet.of(CAUSES, first_id=1000)


def made(telemetry=None, **settings):
    """The processor with these settings."""
    return RateProcessor(RateSettings(**settings), fake_context(ComponentKind.PROCESSOR, "rate", telemetry=telemetry))


def at(second, name, values, rows=OWNERS, **parts):
    """A counter read at a second."""
    return frame(name, values, rows, time_unix_nano=NOON + int(second * SECOND), **parts)


def run(processor, *ticks):
    """What was added to the last tick: metric name → records of its rows → value."""
    for frames in ticks:
        out = processor.process(frames)
    added = out[len(ticks[-1]) :]
    return {
        made.name: {
            r["process.executable.name"]: v for r, v in zip(made.rows.records(), made.values.tolist(), strict=True)
        }
        for made in added
    }


def page_cache(second, attempts, adds, misses):
    """The frames of the page cache at a second."""
    return [
        at(second, "ebpf.cache.read_attempts", attempts),
        at(second, "ebpf.cache.misses", misses),
        at(second, "ebpf.page_cache.adds", adds, READS),
    ]


def test_the_contract_is_kept():
    """The processor behaves as every component must."""
    check_contract(FACTORY, {"metrics": ["*"], "percentages": False})


def test_the_frames_themselves_pass_unchanged():
    """What comes in goes out first, the very same objects."""
    frames = page_cache(0, [1, 1], [0] * 6, [0, 0])

    assert frames == made(metrics=["*"]).process(frames)


def test_the_hit_rate_is_about_pages_that_reads_asked_for():
    """Pages brought in for mapped access or by writes are no misses of reads; rows are matched by their attributes."""
    before = page_cache(0, [100, 50], [0, 7, 9, 20, 0, 0], [20, 7])
    after = page_cache(10, [300, 50], [4, 70, 90, 70, 500, 900], [570, 74])

    expected = {"ebpf.cache.miss_rate": {"dd": 25.0}, "ebpf.cache.hit_rate": {"dd": 75.0}}

    assert expected == run(made(), before, after)


def test_without_causes_the_misses_are_taken():
    """Where adds are not told apart, misses over attempts are the best there is."""
    before = [at(0, "ebpf.cache.read_attempts", [0, 0]), at(0, "ebpf.cache.misses", [0, 0])]
    after = [at(1, "ebpf.cache.read_attempts", [10, 4]), at(1, "ebpf.cache.misses", [1, 4])]
    adds = [at(second, "ebpf.page_cache.adds", [9 * second, 9 * second]) for second in (0, 1)]

    expected = {"ebpf.cache.miss_rate": {"dd": 10.0, "sh": 100.0}, "ebpf.cache.hit_rate": {"dd": 90.0, "sh": 0.0}}

    assert expected == run(made(), before, after)
    assert expected == run(made(), [*before, adds[0]], [*after, adds[1]])


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


def test_causes_that_are_no_words_tell_nothing():
    """Where adds cannot be told apart, their share of reads is unknown, not zero."""
    coded = RowSet.of([{"process.executable.name": "dd", "cause": 7}])
    ticks = [[at(s, "ebpf.cache.read_attempts", [s, 0]), at(s, "ebpf.page_cache.adds", [s], coded)] for s in (1, 2)]

    assert {} == run(made(), *ticks)


def test_read_ahead_never_makes_a_rate_leave_its_range():
    """Pages that are brought in before they are asked for count as 100 % misses, not as 400 %."""
    before = page_cache(0, [0, 0], [0] * 6, [0, 0])
    after = page_cache(1, [8, 8], [32, 0, 0, 0, 0, 0], [32, 0])

    expected = {"ebpf.cache.miss_rate": {"dd": 0.0, "sh": 100.0}, "ebpf.cache.hit_rate": {"dd": 100.0, "sh": 0.0}}

    assert expected == run(made(), before, after)


@pytest.mark.parametrize("missing", ["ebpf.cache.read_attempts", "both parts"])
def test_a_percentage_without_its_counters_is_absent(missing):
    """A probe that is not attached makes no percentage, neither 0 nor 100."""
    gone = {missing} if missing != "both parts" else {"ebpf.page_cache.adds", "ebpf.cache.misses"}
    ticks = [page_cache(s, [s, s], [s] * 6, [s, s]) for s in (1, 2)]

    assert {} == run(made(), *[[f for f in frames if f.name not in gone] for frames in ticks])


def test_nothing_read_means_no_hit_rate():
    """In an interval without reads the percentages are absent."""
    same = [page_cache(second, [9, 9], [3] * 6, [3, 3]) for second in (0, 1)]

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
    ticks = [page_cache(second, [second, second], [0] * 6, [0, 0]) for second in (1, 2)]

    assert {} == run(made(percentages=False), *ticks)


def test_a_percentage_says_what_it_is():
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


def test_rates_are_made_on_request():
    """Names and patterns choose counters and histograms; gauges have no rate."""
    bounds = {"bounds": [0.5], "unit": "s"}
    ticks = [
        [
            at(second, "ebpf.block.io.size", [[second, 0], [0, 0]], bounds=[4096.0], unit="By"),
            at(second, "ebpf.syscall.io", [100 * second, 0], unit="By"),
            at(second, "ebpf.syscall.duration", [[3 * second, second], [0, 0]], **bounds),
            at(second, "ebpf.syscall.level", [second, second], kind=Kind.GAUGE),
            at(second, "other", [second, second]),
        ]
        for second in (2, 4)
    ]
    expected = {
        "ebpf.block.io.size.rate": {"dd": 1.0, "sh": 0.0},
        "ebpf.syscall.io.rate": {"dd": 100.0, "sh": 0.0},
        "ebpf.syscall.duration.rate": {"dd": 4.0, "sh": 0.0},
    }
    processor = made(metrics=["ebpf.block.io.size", "ebpf.syscall.*"])

    assert expected == run(processor, *ticks)


@pytest.mark.parametrize(("unit", "expected"), [("By", "By/s"), ("{page}", "{page}/s"), ("", "1/s"), ("1", "1/s")])
def test_a_rate_has_the_unit_per_second(unit, expected):
    """The unit follows from the counter's; a histogram's rate counts observations, whatever they are measured in."""
    processor = made(metrics=["*"])
    for second in (1, 2):
        *_, counter, histogram = processor.process(
            [at(second, "c", [1, 1], unit=unit), at(second, "h", [[1, 0]] * 2, bounds=[1.0], unit=unit)]
        )

    assert (expected, "1/s") == (counter.unit, histogram.unit)
    assert ("c.rate", "h.rate") == (counter.name, histogram.name)


def test_a_subset_is_the_same_object_while_its_rows_are_the_same():
    """What is rendered for the rows with reads stays of use until other rows read."""
    processor = made()
    seen = []
    for second, attempts in enumerate([[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]]):
        added = processor.process(page_cache(second, attempts, [0] * 6, [0, 0]))[3:]
        seen.append([frame.rows for frame in added])

    assert 1 == len({id(rows) for tick in seen[1:4] for rows in tick})
    assert seen[3][0] is not seen[4][0]
    assert [{"process.executable.name": "sh"}] == seen[4][0].records()


def test_the_first_calls_of_a_machine_have_a_rate():
    """A metric that appears with its first event was zero in the batch before: a single burst is not lost."""
    idle = [at(0, "other", [1, 1])]
    burst = [at(2, "ebpf.fadvise.calls", [23, 2]), at(2, "ebpf.fadvise.success", [23, 1])]

    expected = {
        "ebpf.fadvise.success_rate": {"dd": 100.0, "sh": 50.0},
        "ebpf.fadvise.calls.rate": {"dd": 11.5, "sh": 1.0},
    }

    assert expected == run(made(metrics=["*.calls"]), idle, burst)


def test_a_clock_set_back_is_counted_and_forgiven():
    """The interval is absent and the problem named; later intervals are right again."""
    telemetry = RecordedTelemetry()
    processor = made(telemetry, metrics=["c"])
    back = run(processor, [at(10, "c", [10, 0])], [at(5, "c", [11, 0])])
    later = run(processor, [at(6, "c", [14, 0])])

    assert {} == back
    assert {"c.rate": {"dd": 3.0, "sh": 0.0}} == later
    assert [
        ("clock", '"c" was not read after the time of its frame before; the interval is left out')
    ] == telemetry.errors
    assert "clock" in telemetry.recoveries


def test_a_wish_that_no_metric_answers_is_named_once(caplog):
    """A misspelt metric is not silently ignored."""
    processor = made(metrics=["ebpf.block.io.sizes", "ebpf.block.*"])
    with caplog.at_level(logging.INFO):
        for second in range(6):
            processor.process([at(second, "ebpf.block.io.size", [1, 1])])
            processor.process([])

    expected = (
        'metrics: no counter or histogram "ebpf.block.io.sizes" has come by so far; did you mean "ebpf.block.io.size"?'
    )

    assert [expected] == caplog.messages


def test_an_empty_wish_is_refused():
    """A name of no characters is a mistake."""
    with pytest.raises(ValidationError):
        RateSettings(metrics=[""])


COUNTS = st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2), min_size=2, max_size=6)


@given(attempts=COUNTS, adds=COUNTS, starts=st.lists(st.integers(0, 2**40), min_size=6, max_size=6))
def test_rates_and_percentages_keep_their_range(attempts, adds, starts):
    """Whatever counters do, resets included: rates are finite and not negative, percentages within 0 and 100."""
    processor = made(metrics=["*"])
    for second, (asked, added, start) in enumerate(zip(attempts, adds, starts, strict=False)):
        parts = {"start_time_unix_nano": NOON + start}
        out = processor.process(
            [at(second, "ebpf.cache.read_attempts", asked, **parts), at(second, "ebpf.cache.misses", added, **parts)]
        )
        for made_frame in out[2:]:
            assert np.isfinite(made_frame.values).all()
            assert (made_frame.values >= 0).all()
            assert made_frame.unit != "%" or (made_frame.values <= 100).all()


@given(value=st.integers(0, 2**64 - 1), seconds=st.floats(0.001, 1000))
def test_the_rate_of_a_constant_is_zero(value, seconds):
    """What does not change has a rate of 0, not no rate."""
    ticks = [[at(second, "c", [value, value])] for second in (0, seconds)]

    assert {"c.rate": {"dd": 0.0, "sh": 0.0}} == run(made(metrics=["c"]), *ticks)
