# SPDX-License-Identifier: Apache-2.0

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rate_processor import FACTORY, at, made, page_cache, run

from ebpf_sidecar.pipeline import ComponentKind, Kind, streams
from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.testing import NOON, RecordedTelemetry, check_contract
from ebpf_sidecar.processors.rate import RateSettings


def test_the_contract_is_kept():
    """The processor behaves as every component must."""
    check_contract(FACTORY, {"metrics": ["*"], "percentages": False})


def test_the_frames_themselves_pass_unchanged():
    """The input is passed first, the very same objects."""
    frames = page_cache(0, [1, 1], [0, 0])

    assert frames == made(metrics=["*"]).process(frames)


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


def test_two_receivers_with_the_same_rows_have_the_rates_that_they_have_alone():
    """One counts 1 a second, the other 50,000, under the same name, labels and row ids; hit rates likewise."""
    quick, slow = (ComponentId(ComponentKind.RECEIVER, "r", name) for name in ("quick", "slow"))
    processor, rates = made(metrics=["c"]), {}
    for second in (1, 2, 3):
        for source, speed in ((quick, 50_000), (slow, 1)):
            count, misses = second * speed, 0 if source == quick else second
            frames = [replace(each, source=source) for each in page_cache(second, [count] * 2, [misses] * 2)]
            out = processor.process([*frames, replace(at(second, "c", [count, count]), source=source)])
            rates |= {(f.name, f.source): f.values.tolist() for f in out if f.kind is Kind.GAUGE}

    assert {
        ("c.rate", quick): [50_000.0, 50_000.0],
        ("c.rate", slow): [1.0, 1.0],
        ("ebpf.cache.hit_rate", quick): [100.0, 100.0],
        ("ebpf.cache.hit_rate", slow): [0.0, 0.0],
        ("ebpf.cache.miss_rate", quick): [0.0, 0.0],
        ("ebpf.cache.miss_rate", slow): [100.0, 100.0],
    } == rates


def test_what_is_kept_is_of_the_origins_that_still_come(monkeypatch):
    """However many resources and names come and go; the increases are forgotten with it."""
    monkeypatch.setattr(streams, "MAX_ABSENT_ROUNDS", 3)
    processor = made(metrics=["*"])
    for number in range(30):
        for second in (2 * number, 2 * number + 1):
            frames = [*page_cache(second, [second] * 2, [second] * 2), at(second, f"c{number}", [second, 0])]
            processor.process([replace(each, resource={"host.name": f"h{number}"}) for each in frames])
    kept = (processor._percentages, processor._subsets, processor._requested, processor._increases._seen)

    assert [] == [len(each) for each in kept if len(each) > 4 * len(frames)]
    assert {"h29", "h28", "h27"} == {origin.resource["host.name"] for origin in processor._percentages}


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


def test_the_first_calls_of_a_machine_have_a_rate():
    """A metric that appears with its first event was zero in the batch before: a single burst is not lost."""
    idle = [at(0, "other", [1, 1])]
    burst = [at(2, "ebpf.fadvise.calls", [23, 2]), at(2, "ebpf.fadvise.success", [23, 1])]

    expected = {
        "ebpf.fadvise.success_rate": {"dd": 100.0, "sh": 50.0},
        "ebpf.fadvise.calls.rate": {"dd": 11.5, "sh": 1.0},
    }

    assert expected == run(made(metrics=["*.calls"]), idle, burst)


def test_a_clock_set_back_is_counted_and_costs_one_interval():
    """The interval is absent and the problem named; later intervals are right again."""
    telemetry = RecordedTelemetry()
    processor = made(telemetry, metrics=["c"])
    back = run(processor, [at(10, "c", [10, 0])], [at(5, "c", [11, 0])])
    later = run(processor, [at(6, "c", [14, 0])])

    assert {} == back
    assert {"c.rate": {"dd": 3.0, "sh": 0.0}} == later
    assert [("clock", '"c" was not read later than its previous frame; the interval is skipped')] == telemetry.errors
    assert "clock" in telemetry.recoveries


def test_a_pattern_without_a_metric_is_named_once(caplog):
    """A misspelt metric is not silently ignored."""
    processor = made(metrics=["ebpf.block.io.sizes", "ebpf.block.*"])
    with caplog.at_level(logging.INFO):
        for second in range(6):
            processor.process([at(second, "ebpf.block.io.size", [1, 1])])
            processor.process([])

    expected = (
        'metrics: no counter or histogram "ebpf.block.io.sizes" has arrived so far; did you mean "ebpf.block.io.size"?'
    )

    assert [expected] == caplog.messages


def test_an_empty_pattern_is_refused():
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
