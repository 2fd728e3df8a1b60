# SPDX-License-Identifier: Apache-2.0
"""Rows of attributes: what taking some of them leaves, once it is trimmed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import nasty_text

from ebpf_sidecar.pipeline import RowSet, Text

NAMES = RowSet.of([{"process.executable.name": name} for name in ("dd", "sh", "secret", "sh")])


@given(words=st.lists(nasty_text, max_size=8), data=st.data())
def test_what_is_taken_and_trimmed_has_its_text_and_no_word_of_the_others(words, data):
    """Whatever is chosen, by positions, in any order and more than once."""
    places = data.draw(st.lists(st.integers(0, len(words) - 1), max_size=12) if words else st.just([]))
    taken = Text.of(words).take(np.array(places, np.intp)).trimmed()

    assert [words[place] for place in places] == taken.strings()
    assert {words[place] for place in places} == set(taken.words)
    assert len(set(taken.words)) == len(taken.words)


@pytest.mark.parametrize(
    ("mask", "words"),
    [([True, True, False, True], ("dd", "sh")), ([False] * 4, ()), ([True] * 4, ("dd", "sh", "secret"))],
)
def test_trimming_drops_the_words_of_rows_that_a_mask_leaves_out(mask, words):
    """Row sets hold several columns; each is trimmed."""
    assert words == NAMES.take(np.array(mask)).columns["process.executable.name"].trimmed().words


def test_where_every_word_is_used_nothing_is_made_anew():
    """Words that are the same object are compared at once."""
    column = NAMES.columns["process.executable.name"]

    assert column is column.trimmed()
    assert column.words is column.take(np.array([3, 2, 1, 0])).words
