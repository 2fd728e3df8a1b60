# SPDX-License-Identifier: Apache-2.0
"""Durations as Go writes them."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from ebpf_sidecar.pipeline.settings import (
    Bytes,
    Duration,
    Interval,
    Settings,
    Share,
    Within,
    format_bytes,
    format_duration,
    parse_bytes,
    parse_duration,
    parse_share,
)

NANOSECONDS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 10**9, "ms": 10**6, "us": 1000, "µs": 1000, "ns": 1}


class Waits(Settings):
    interval: Interval = 1.0
    timeout: Duration = 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("0", 0),
        ("+5s", 5),
        ("-5s", -5),
    ],
)
def test_durations_are_read_as_go_reads_them(text, seconds):
    """The examples of Go's time.ParseDuration."""
    assert seconds == parse_duration(text)


@given(st.lists(st.tuples(st.integers(0, 10**5), st.sampled_from(sorted(NANOSECONDS))), min_size=1, max_size=9))
def test_a_duration_is_the_sum_of_its_parts(parts):
    """Any units in any order."""
    text = "".join(f"{number}{unit}" for number, unit in parts)

    assert pytest.approx(sum(number * NANOSECONDS[unit] for number, unit in parts) / 1e9) == parse_duration(text)


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.text()))
def test_what_is_no_duration_is_refused_with_the_repair(value):
    """Of numbers only zero needs no unit; and nothing fails in another way."""
    assume(not isinstance(value, str) or not set("0123456789") & set(value))
    assume(value is False or value != 0)

    with pytest.raises(ValueError, match="; write a number with its unit"):
        parse_duration(value)


def test_zero_needs_no_unit():
    """As text and as the number that YAML makes of it."""
    assert (0.0, 0.0) == (parse_duration("0"), parse_duration(0))


@pytest.mark.parametrize("text", ["9223372037s", "9" * 400 + "s", "2562048h"])
def test_no_duration_is_longer_than_can_be_waited(text):
    """Go's own limit of 292 years; beyond, Python's waiting overflows."""
    with pytest.raises(ValueError, match="is longer than 292 years; give a shorter duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "-1s", "0", "5", "", "s", "1d", "1 s", "1s ", "1e3s", "5 seconds"])
def test_intervals_are_above_zero(text):
    """Zero, negative and unit-less ones are refused."""
    with pytest.raises(ValidationError):
        Waits(interval=text)


def test_durations_may_be_zero_but_not_negative():
    """As a timeout; what is refused is quoted as it was written."""
    assert 0.0 == Waits(timeout="0s").timeout
    with pytest.raises(ValidationError, match='"-5m" is below 1ms; write at least 1ms, or 0s'):
        Waits(timeout="-5m")


class Bounded(Settings):
    every: Annotated[float, Within("10ms", "24h")] = 1.0
    canary: Annotated[float | None, Within("1s", "24h", or_zero=True)] = None


@given(st.integers(0, 10**15))
def test_a_duration_is_accepted_exactly_within_its_limits(nanoseconds):
    """Both limits included; zero where it is allowed."""
    text = f"{nanoseconds}ns"

    assert (10**7 <= nanoseconds <= 24 * NANOSECONDS["h"]) == accepted(every=text)
    assert (nanoseconds == 0 or 10**9 <= nanoseconds <= 24 * NANOSECONDS["h"]) == accepted(canary=text)


def accepted(**values):
    """Whether the settings are taken."""
    try:
        Bounded(**values)
    except ValidationError:
        return False
    return True


def test_the_limits_of_a_duration_are_in_the_json_schema():
    """From where the documents take them."""
    shape = Bounded.model_json_schema()["properties"]["every"]

    assert ("string", "10ms", "24h") == (shape["type"], shape["x-minimum"], shape["x-maximum"])


@pytest.mark.parametrize(
    "text", ["1" * 200_000, "1s" * 100_000 + "x", "." * 200_000, "9" * 200_000 + "MiB", " " * 200_000]
)
def test_a_text_of_any_length_is_judged_in_one_pass(text):
    """And quoted in part only. A backtracking pattern would need minutes."""
    for parse in (parse_duration, parse_bytes, parse_share):
        with pytest.raises(ValueError, match="; ") as refused:
            parse(text)
        assert len(str(refused.value)) < 300


@given(st.integers(min_value=0, max_value=10**16))
def test_durations_are_shown_as_they_can_be_written(nanoseconds):
    """What documents and messages say is read back as the same length of time."""
    assert parse_duration(format_duration(nanoseconds / 1e9)) == pytest.approx(nanoseconds / 1e9)


def test_durations_are_short():
    """As a user would write them."""
    assert ["0s", "500ms", "10s", "1m30s", "5m", "1h"] == [
        format_duration(each) for each in (0, 0.5, 10, 90, 300, 3600)
    ]


class Limits(Settings):
    memory: Bytes = 0
    share: Share = 1.0


@pytest.mark.parametrize(
    ("text", "size"),
    [("16MiB", 16 << 20), ("64MB", 64_000_000), ("1.5 KiB", 1536), (".5kB", 500), ("7", 7), ("7B", 7), (4096, 4096)],
)
def test_sizes_are_read_with_units_of_1024_and_of_1000(text, size):
    """As Kubernetes and the shell tools tell them apart, with the unit written out."""
    assert size == parse_bytes(text) == Limits(memory=text).memory


@given(st.integers(0, (1 << 63) - 1))
def test_a_size_is_written_as_it_is_read(size):
    """With the largest unit that is exact."""
    assert size == parse_bytes(format_bytes(size))


@pytest.mark.parametrize(
    ("wrong", "repair"),
    [
        ("16Mib", 'has the unknown unit "Mib"; did you mean "MiB"?'),
        ("16Mi", 'has the unknown unit "Mi"; did you mean "MiB"?'),
        ("16 parsecs", 'has the unknown unit "parsecs"; choose "B"'),
        ("much", '"much" is not a size; write a number with its unit'),
        (-1, '"-1" is not a size'),
        ("99999999TiB", '"99999999TiB" is more than any machine has'),
        (1 << 63, "is more than any machine has; give a smaller size"),
        (True, '"True" is not a size'),
        (1.5, '"1.5" is not a size'),
        (None, '"None" is not a size'),
    ],
)
def test_what_is_no_size_is_refused_with_the_repair(wrong, repair):
    """A close unit is suggested."""
    with pytest.raises(ValueError, match=re.escape(repair)):
        parse_bytes(wrong)


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), ("100%", 1), ("0.5 %", 0.005), (0.02, 0.02), ("0.02", 0.02), (1, 1)]
)
def test_shares_are_read_as_percentages_and_as_ratios(text, share):
    """Both ways to write it are in use."""
    assert pytest.approx(share) == parse_share(text) == Limits(share=text).share


@pytest.mark.parametrize(
    "wrong", ["0%", 0, -0.1, "101%", 2, "%", "a lot", True, None, "nan", float("nan"), float("inf")]
)
def test_what_is_no_share_is_refused_with_the_repair(wrong):
    """2 more likely means 2% than 200%: the unit is required."""
    with pytest.raises(ValueError, match="; write a percentage, as in"):
        parse_share(wrong)
