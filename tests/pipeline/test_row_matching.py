# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import RowSet, Text, row_matching
from ebpf_sidecar.pipeline.row_matching import matching_positions

ATTRIBUTES = st.fixed_dictionaries(
    {"exe": st.sampled_from(["", "sh", "dd"]), "cgroup": st.sampled_from(["", "/", "/a"]), "pid": st.integers(0, 2)}
)
RECORDS = st.lists(ATTRIBUTES, max_size=12)


def by_hand(rows, within, ignoring):
    """The positions, one row at a time."""
    keep = [{n: v for n, v in record.items() if n not in ignoring} for record in within.records()]
    wanted = [{n: v for n, v in record.items() if n not in ignoring} for record in rows.records()]
    return [keep.index(record) if record in keep else -1 for record in wanted]


@given(rows=RECORDS, within=RECORDS, ignoring=st.sets(st.sampled_from(["exe", "cgroup", "cause"])))
def test_columns_give_what_comparing_rows_gives(rows, within, ignoring):
    """The vectorised join finds exactly the rows that are equal, and the first of them."""
    rows, within = RowSet.of(rows), RowSet.of(within)

    assert by_hand(rows, within, ignoring) == matching_positions(rows, within, ignoring).tolist()


def test_a_row_set_matches_itself():
    """The very same object needs no comparison, even with rows that look alike."""
    rows = RowSet.of([{"exe": "sh"}, {"exe": "sh"}])

    assert [0, 1] == matching_positions(rows, rows).tolist()


def test_an_absent_column_equals_an_empty_one():
    """A row without an attribute matches a row whose attribute is empty, and nothing else."""
    within = RowSet.of([{"exe": "sh", "cause": "read"}, {"exe": "sh", "cause": ""}])

    assert [1] == matching_positions(RowSet.of([{"exe": "sh"}]), within).tolist()


def test_numbers_and_text_are_compared_as_text():
    """A process id matches whether a source has it as a number or as text."""
    numbers, text = RowSet.of([{"pid": 23}, {"pid": 7}]), RowSet.of([{"pid": "7"}, {"pid": "23"}])

    assert [1, 0] == matching_positions(numbers, text).tolist()


def test_many_columns_of_many_words_do_not_overflow(monkeypatch):
    """Where the combinations exceed 64 bits they are renumbered on the way."""
    monkeypatch.setattr(row_matching, "_MAX_KEY", 50)
    names = [f"a{number}" for number in range(6)]
    columns = {name: Text.of(f"{name}{row % (3 + place)}" for row in range(40)) for place, name in enumerate(names)}
    rows = RowSet(np.arange(40, dtype=np.uint64), columns)
    backwards = rows.take(np.arange(39, -1, -1))

    assert by_hand(rows, backwards, ()) == matching_positions(rows, backwards).tolist()
