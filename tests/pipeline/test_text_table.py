# SPDX-License-Identifier: Apache-2.0
"""Tables in plain text."""

import click
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.text_table import aligned

CELLS = st.one_of(st.integers(), st.floats(), st.text(st.characters(codec="ascii", exclude_categories=["C"])))
TABLES = st.integers(1, 4).flatmap(lambda columns: st.lists(st.tuples(*[CELLS] * columns)))


def test_text_is_at_the_left_and_numbers_are_at_the_right():
    """Whatever the head of the column."""
    assert ["program  calls", "a            1", "longer     2.5"] == list(
        aligned([("program", "calls"), ("a", 1), ("longer", 2.5)])
    )


def test_chosen_columns_are_at_the_right():
    """Heads and words, too."""
    assert ["what  MiB", "a       ?", "b     1.5"] == list(
        aligned([("what", "MiB"), ("a", "?"), ("b", "1.5")], right={1})
    )


def test_lines_do_not_end_with_blanks():
    """A diff of two outputs shows what differs."""
    assert ["  a  b", "", "  a  c"] == list(aligned([("a", "b"), ("", ""), ("a", "c")], indent="  "))


def test_colours_have_no_width():
    """Columns look the same on a terminal and in a file."""
    rows = [(click.style("ok", fg="green"), "a", "b"), ("problem", "c", "d")]

    assert ["ok       a  b", "problem  c  d"] == [click.unstyle(line) for line in aligned(rows)]


def test_a_table_without_rows_has_no_lines():
    """No heads, no table."""
    assert [] == list(aligned([]))


@given(TABLES)
def test_columns_start_below_each_other(rows):
    """Each cell is found at its column's place, padded with blanks."""
    lines = list(aligned(rows, floats=".2f", gap="|"))
    texts = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]

    assert len(rows) == len(lines)
    for line, row in zip(lines, texts, strict=True):
        padded, start = line.ljust(sum(widths) + len(widths)), 0
        for text, width in zip(row, widths, strict=True):
            assert text.strip() == padded[start : start + width].strip()
            start += width + 1
