# SPDX-License-Identifier: Apache-2.0
"""Rows that differ only in what nobody wants become one, and nothing is lost."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import RowSet, Text
from ebpf_sidecar.pipeline.row_merging import merging_without
from ebpf_sidecar.pipeline.testing import NOON, frame

ROWS = RowSet.of([
    {"container.id": "a", "exe": "x", "op": "read"}, {"container.id": "b", "exe": "x", "op": "read"},
    {"container.id": "a", "exe": "y", "op": "read"}, {"container.id": "a", "exe": "y", "op": "write"},
], first_id=10)  # fmt: skip


def merged(made, *names):
    """The frame without the attributes."""
    return merging_without(names)(made.rows).frame(made)


def test_rows_that_differ_only_in_what_is_not_wanted_are_added_up():
    """Values and sums, from the earliest start on."""
    starts = np.array([30, 40, 20, 10], np.uint64)
    made = merged(
        frame("wait", [[1, 2]] * 4, ROWS, bounds=[1.0], sums=[1, 2, 3, 4], start_time_unix_nano=starts), "exe"
    )

    found = {(r["container.id"], r["op"]): i for i, r in enumerate(made.rows.records())}
    assert {("a", "read"), ("b", "read"), ("a", "write")} == set(found)
    both = found["a", "read"]
    assert ([2, 4], 4.0, 20, 10) == (
        made.values[both].tolist(), made.sums[both], made.start_times()[both], made.rows.ids[both]
    )  # fmt: skip


def test_without_the_attributes_nothing_changes():
    """Not even the row set, so that what was derived from it is found again."""
    made = frame("work", [1, 2, 3, 4], ROWS)

    assert made.rows is merged(made, "nothing").rows
    assert not merging_without(["nothing"])(ROWS).merges()


def test_rows_that_stay_apart_keep_their_order():
    """Their values stay where they were."""
    rows = RowSet.of([{"op": "write", "exe": "x"}, {"op": "read", "exe": "x"}])

    assert [{"op": "write"}, {"op": "read"}] == merged(frame("work", [1, 2], rows), "exe").rows.records()


def test_all_attributes_may_go():
    """Then there is one row."""
    assert [10] == merged(frame("work", [1, 2, 3, 4], ROWS), "container.id", "exe", "op").values.tolist()


def test_frames_without_rows_stay_so():
    """There is nothing to add up."""
    assert 0 == len(merged(frame("work", [], RowSet.of([])), "exe"))


def test_the_same_text_is_the_same_attribute():
    """Also where a column has a word twice, as after a processor has mapped two words to one."""
    rows = RowSet(np.arange(2, dtype=np.uint64), {"c": Text(np.array([0, 1]), ("a", "a")), "exe": Text.of(["x", "y"])})

    assert [3] == merged(frame("work", [1, 2], rows), "exe").values.tolist()


NAMES = st.sampled_from(["", "a", "b"])
RECORDS = st.lists(st.fixed_dictionaries({"p": NAMES, "q": NAMES, "n": st.integers(0, 2)}), max_size=12)


@given(records=RECORDS, data=st.data())
def test_each_group_has_the_sum_of_its_rows(records, data):
    """Whatever attributes there are."""
    values = data.draw(st.lists(st.integers(0, 2**40), min_size=len(records), max_size=len(records)))
    rows = RowSet.of(records)
    made = merged(frame("work", values, rows, time_unix_nano=NOON), "q")

    expected = Counter()
    for record, value in zip(records, values, strict=True):
        expected[record["p"], record["n"]] += value
    found = {
        (r.get("p", ""), r["n"]): value for r, value in zip(made.rows.records(), made.values.tolist(), strict=True)
    }
    assert dict(expected) == found
    assert len(set(made.rows.ids.tolist())) == len(made)
