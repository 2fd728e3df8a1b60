# SPDX-License-Identifier: Apache-2.0
"""Rows are found by their ids, whatever comes, stays away and returns, and arrays follow."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.row_index import RowIndex, latest
from ebpf_sidecar.pipeline.rows import RowSet

ROWS = st.lists(st.integers(0, 12), max_size=8, unique=True)


@given(st.lists(st.tuples(ROWS, st.integers(0, 4)), max_size=12))
def test_what_is_kept_of_a_row_is_found_again_until_it_is_forgotten(batches):
    """As a dictionary by id would have it, of which the oldest entries are dropped."""
    index, values, seen, expected = RowIndex(), np.zeros(0, np.int64), np.zeros(0, np.int64), {}
    forgotten = -1
    for now, (ids, most) in enumerate(batches, 1):
        rows = RowSet(np.array(ids, np.uint64))
        change = index.follow(rows, lambda absent, most=most, seen=seen: latest(absent, seen, most))
        values, seen = change.of(values, 0), change.of(seen, -1)
        before = dict(expected)
        expected = {id_: before.get(id_, (0, -1)) for id_ in ids} | {
            id_: entry for id_, entry in before.items() if id_ not in ids and id_ in index.ids
        }
        forgotten = max([forgotten, *(before.keys() - expected.keys())])
        absent = [entry[1] for id_, entry in before.items() if id_ not in ids]
        kept = [entry[1] for id_, entry in expected.items() if id_ not in ids]

        assert sorted(expected) == index.ids.tolist()
        assert sorted(absent)[len(absent) - len(kept) :] == sorted(kept)
        assert len(kept) == min(most, len(absent))
        assert [expected[id_] for id_ in index.ids.tolist()] == list(zip(values.tolist(), seen.tolist(), strict=True))
        assert ids == index.ids[index.places].tolist()
        assert forgotten == index.forgotten
        values[index.places] += 1
        seen[index.places] = now
        expected |= {id_: (expected[id_][0] + 1, now) for id_ in ids}


def test_the_same_row_set_changes_nothing():
    """What happens at nearly every reading costs nothing."""
    index, rows = RowIndex(), RowSet(np.array([5, 3], np.uint64))
    first = index.follow(rows, lambda absent: absent)

    assert 2 == first.added
    assert index.follow(rows, lambda absent: absent) is None
    assert [1, 0] == index.places.tolist()


def test_columns_follow_rows_that_come_in_between():
    """New entries are where their ids are, of the array's own type and shape."""
    index = RowIndex()
    index.follow(RowSet(np.array([1, 9], np.uint64)), lambda absent: absent)
    buckets = np.array([[1, 1], [9, 9]], np.uint64)
    change = index.follow(RowSet(np.array([9, 4, 1], np.uint64)), lambda absent: absent)

    assert [[1, 1], [0, 0], [9, 9]] == change.of(buckets, 0).tolist()
    assert buckets.dtype == change.of(buckets, 0).dtype


def test_only_ids_up_to_the_highest_forgotten_one_may_return():
    """Ids are ascending, so a higher one is new."""
    index = RowIndex()
    index.follow(RowSet(np.array([1, 7, 9], np.uint64)), lambda absent: absent)

    assert [False, False] == index.may_return(np.array([1, 7], np.uint64)).tolist()
    index.follow(RowSet(np.array([9], np.uint64)), np.zeros_like)

    assert [True, True, False] == index.may_return(np.array([1, 7, 8], np.uint64)).tolist()
    assert (7, 9) == (index.forgotten, index.highest())
