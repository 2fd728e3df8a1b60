# SPDX-License-Identifier: Apache-2.0
"""Labels are rendered once and kept while a row lives unchanged."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from strategies import nasty_text, row_sets

from ebpf_sidecar.exporters.exposition.labels import LabelWriter, unchanged_rows
from ebpf_sidecar.pipeline import RowSet, Text

PLAIN = LabelWriter({})


def table(*records, writer=PLAIN):
    """The rendered labels of plain records."""
    return writer.table(RowSet.of(records))


def test_labels_are_sorted_and_absent_attributes_left_out():
    """A row without attributes has no braces."""
    assert ['{a="1",b="x"} ', '{b="y"} ', " "] == table(
        {"b": "x", "a": "1"}, {"b": "y", "a": ""}, {"a": "", "b": ""}
    ).blocks


def test_numbers_and_booleans_become_text():
    """Integers stay exact."""
    rows = RowSet(
        np.arange(2, dtype=np.uint64),
        {
            "pid": np.array([1, 2**64 - 1], dtype=np.uint64),
            "ratio": np.array([0.5, np.inf]),
            "on": np.array([True, False]),
        },
    )

    assert ['{on="true",pid="1",ratio="0.5"} ', '{on="false",pid="18446744073709551615",ratio="+Inf"} '] == PLAIN.table(
        rows
    ).blocks


def test_quotes_newlines_and_backslashes_are_escaped():
    """As both formats want it."""
    assert [r'{a="\"x\"\\n\n"} '] == table({"a": '"x"\\n\n'}).blocks


def test_what_utf8_cannot_hold_is_replaced():
    """An undecodable process name does not make the page unreadable."""
    assert ['{a="x\ufffdy"} '] == table({"a": b"x\xffy".decode("utf-8", "surrogateescape")}).blocks


def test_constant_labels_win_over_attributes():
    """The user wrote them."""
    writer = LabelWriter({"cluster": "blue", "zone": "z"})

    assert ['{cluster="blue",pod="p",zone="z"} '] == table({"cluster": "red", "pod": "p"}, writer=writer).blocks


def test_colliding_labels_are_joined_in_the_order_of_their_names():
    """The specification's rule; absent values do not count."""
    assert ['{a_b="dot;underscore"} ', '{a_b="alone"} '] == table(
        {"a_b": "underscore", "a.b": "dot"}, {"a_b": "alone", "a.b": ""}
    ).blocks


def test_rows_with_the_same_labels_are_one_series():
    """The later one wins."""
    same = table({"a": "1"}, {"a": "2"}, {"a": "1"})

    assert ['{a="2"} ', '{a="1"} '] == same.blocks
    assert [1, 2] == same.selection.tolist()


def test_text_of_unchanged_rows_is_reused():
    """Not an equal text, but the same object; an enriched row is rendered again."""
    before = RowSet(np.array([1, 2, 3], dtype=np.uint64), {"a": Text.of("xyz"), "c": Text.of(["", "k", "k"])})
    after = RowSet(np.array([3, 2, 4], dtype=np.uint64), {"a": Text.of("zyw"), "c": Text.of(["k", "found", ""])})
    old = PLAIN.table(before)
    new = PLAIN.table(after, old)

    assert ['{a="z",c="k"} ', '{a="y",c="found"} ', '{a="w"} '] == new.blocks
    assert old.blocks[2] is new.blocks[0]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": Text.of("xy"), "b": Text.of("pq")},
        {"b": Text.of("xy")},
        {"a": np.array([1, 2])},
    ],
)
def test_rows_with_other_columns_have_changed(columns):
    """A column more, another one, or numbers in place of text."""
    before = RowSet(np.arange(2, dtype=np.uint64), {"a": Text.of("xy")})
    after = RowSet(before.ids, columns)

    assert 0 == len(unchanged_rows(after, before.ids, before.columns)[0])


def test_unchanged_numbers_are_reused_too():
    """A number column is compared as numbers."""
    before = RowSet(np.array([1, 2], dtype=np.uint64), {"pid": np.array([10, 20])})
    after = RowSet(np.array([2, 1], dtype=np.uint64), {"pid": np.array([20, 11])})
    old = PLAIN.table(before)
    new = PLAIN.table(after, old)

    assert ['{pid="20"} ', '{pid="11"} '] == new.blocks
    assert old.blocks[1] is new.blocks[0]


@given(row_sets(), row_sets(), st.booleans())
def test_reused_text_equals_newly_rendered_text(before, after, short):
    """Whatever happened to the rows in between, also when another source has the same ids."""
    writer = LabelWriter({"c": "d"}, short)

    assert writer.table(after).blocks == writer.table(after, writer.table(before)).blocks


@given(nasty_text.filter(bool))
def test_every_value_is_read_back_as_it_was(value):
    """Apart from halves of surrogate pairs, which are replaced."""
    [family] = text_string_to_metric_families(f"m{table({'a': value}).blocks[0]}1\n")

    assert re.sub("[\ud800-\udfff]", "\ufffd", value) == family.samples[0].labels["a"]
