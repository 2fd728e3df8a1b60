# SPDX-License-Identifier: Apache-2.0
"""YAML as the Collector reads it, with places."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.config.yaml_document import Mark, parse
from ebpf_sidecar.pipeline.config.yaml_scalars import dump
from ebpf_sidecar.pipeline.errors import ConfigError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-1_000", -1000),
        ("0123", 83),
        ("0o17", 15),
        ("0xdeadbeef", 3735928559),
        ("0b11", 3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.INF", -math.inf),
        ("on", "on"),
        ("yes", "yes"),
        ("12:30:45", "12:30:45"),
        ("2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z07:00"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("0o", "0o"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!float 3", 3.0),
    ],
)
def test_scalars_have_the_types_of_the_collectors_yaml(text, value):
    """YAML 1.2 core with 1.1's octals and underscores, not PyYAML's 1.1."""
    found = parse(f"key: {text}", "f").value["key"]

    assert (type(value), value) == (type(found), found)


@given(TREES)
def test_what_is_dumped_reads_back_the_same(tree):
    """`dump` quotes all text that would otherwise be read as something else."""
    assert {"tree": tree} == parse(dump({"tree": tree}), "f").value


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """No text makes the parser fail in another way."""
    found: object = None
    with suppress(ConfigError):
        found = parse(text, "f").value

    assert isinstance(found, (type(None), bool, int, float, str, list, dict))


def test_places_are_those_of_the_keys_and_list_items():
    """A mark leads to the key, or to the item of a list."""
    marks = parse("a:\n  b: [1,\n      2]\n", "f.yaml").marks

    assert "f.yaml:2:3" == str(marks["a", "b"])
    assert Mark("f.yaml", 3, 7) == marks["a", "b", 1]


def test_anchors_and_merge_keys_work_and_own_keys_win():
    """``<<`` brings what the mapping does not say itself; of several sources the first wins."""
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 3}\n"

    assert {"a": 3, "b": 1, "c": 2} == parse(text, "f").value["z"]


def test_aliases_of_aliases_do_not_fill_the_memory():
    """The "billion laughs" are refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    with pytest.raises(ConfigError, match="more than 100000 values; use fewer aliases"):
        parse("\n".join(lines), "f")


@pytest.mark.parametrize("levels", [51, 5000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("{<<: ", "}")])
def test_deep_nesting_is_refused(levels, opening, closing):
    """A thousand brackets are a mistake of the file, not of the program."""
    with pytest.raises(ConfigError, match="nested too deeply; write at most 50 levels"):
        parse(opening * levels + "{}" + closing * levels, "f")


def test_fifty_levels_are_read():
    """Far more than anybody writes."""
    assert "[" * 50 + "]" * 50 == str(parse("[" * 50 + "]" * 50, "f").value)


def test_two_escapes_may_be_one_character():
    """JSON writes what is beyond 16 bits so, and JSON is YAML."""
    assert "\U0001f600" == parse(r'"\uD83D\uDE00"', "f").value


def test_whole_numbers_are_keys_only_where_that_is_asked_for():
    """In a configuration all keys are text; the tables of a probe are from numbers to words."""
    text = "{1: a, 0x10: b, -1: c, '2': d}"

    assert {1: "a", 16: "b", -1: "c", "2": "d"} == parse(text, "f", number_keys=True).value
    with pytest.raises(ConfigError, match=r'f:1:2: the key "1" is not text; write it in quotes'):
        parse(text, "f")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{1: a, 0x1: b}", '^f:1:8: "1" is written twice'),
        ("{1.5: a}", '^f:1:2: the key "1.5" is not text or a whole number; write it in quotes'),
        ("{true: a}", '^f:1:2: the key "true" is not text or a whole number'),
        ("{[1]: a}", '^f:1:2: the key "…" is not text or a whole number'),
    ],
)
def test_keys_that_are_no_whole_numbers_are_refused(text, mistake):
    """Two ways to write the same number are the same key."""
    with pytest.raises(ConfigError, match=mistake):
        parse(text, "f", number_keys=True)


@given(TREES)
def test_libyaml_reads_the_same_with_the_same_places(tree):
    """It is only faster."""
    text = dump({"tree": tree})

    assert parse(text, "f") == parse(text, "f", fast=True)


def outcome(text, **how):
    """What is read, or why it is refused."""
    try:
        return [parse(text, "f", **how).value]
    except ConfigError as error:
        return error.mistakes


@given(st.text(st.sampled_from("ab\u00e91 :-?[]{},#&*|>'\"%@`\n\u2028\U0001f600")))
def test_what_pyyaml_reads_libyaml_reads_as_well(text):
    """And what both refuse has the same message. Only a tag without a value, ``!``, is null for one and empty text for
    the other."""
    slow, fast = outcome(text), outcome(text, fast=True)

    assert slow == fast or not isinstance(slow, list)


@pytest.mark.parametrize("text", ["[" * 5000, "- " * 5000, "{a: " * 5000])
def test_libyaml_is_not_led_too_deep(text):
    """Its own composer would need more stack than there is."""
    assert outcome(text) == outcome(text, fast=True)


def test_without_libyaml_the_same_is_read(monkeypatch):
    """PyYAML may be installed without it."""
    monkeypatch.setattr(yaml, "__with_libyaml__", False)

    assert {"a": 1} == parse("a: 1", "f", fast=True).value
