# SPDX-License-Identifier: Apache-2.0
"""A number may be absent in some rows, like text: it is never shown or used as 0."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.exporters.exposition.labels import LabelWriter, unchanged_rows
from ebpf_sidecar.pipeline.cardinality.identity import attribute_hashes
from ebpf_sidecar.pipeline.recording.frame_json import row_set_from_json, row_set_to_json
from ebpf_sidecar.pipeline.row_matching import matching_positions
from ebpf_sidecar.pipeline.rows import RowSet, joined

RECORDS = st.lists(
    st.fixed_dictionaries({}, optional={"port": st.integers(0, 3), "name": st.sampled_from("ab")}), max_size=8
)


@given(RECORDS)
def test_records_come_back_as_they_were(records):
    """Also after rows were chosen, and through a recording; a column without values is absent."""
    rows = RowSet.of(records)
    again = row_set_from_json(json.loads(json.dumps(row_set_to_json(rows))))

    assert records == rows.records() == again.records()
    assert records[::2] == rows.take(np.arange(0, len(records), 2)).records()


@given(RECORDS, RECORDS)
def test_rows_are_equal_where_the_same_is_absent(left, right):
    """By attributes, whatever the columns' types are."""
    found = matching_positions(RowSet.of(left), RowSet.of(right)).tolist()

    assert [right.index(record) if record in right else -1 for record in left] == found


@given(RECORDS)
def test_labels_and_hashes_do_not_show_what_is_absent(records):
    """A label without a value would be another series."""
    rows = RowSet.of(records)
    texts = LabelWriter({}).table(rows).all_blocks
    expected = [",".join(f'{name}="{record[name]}"' for name in sorted(record)) for record in records]

    assert expected == [text.strip().strip("{}").rstrip(",") for text in texts]
    assert len({json.dumps(record, sort_keys=True) for record in records}) == len(
        set(attribute_hashes(rows.columns, len(rows)).tolist())
    )


@given(RECORDS, RECORDS)
def test_a_row_is_unchanged_where_its_numbers_are_and_are_absent_as_before(before, now):
    """A number that was absent and is 0 now is a change."""
    size = min(len(before), len(now))
    old, new = RowSet.of(before[:size]), RowSet.of(now[:size])
    here, _ = unchanged_rows(new, old.ids, old.columns)
    same = [i for i in range(size) if before[i] == now[i]]

    assert {*here.tolist()} <= {*same}
    assert (
        old.columns.keys() != new.columns.keys()
        or same == here.tolist()
        or any(type(old.columns[name]) is not type(new.columns[name]) for name in old.columns)
    )


def test_what_is_joined_stays_absent():
    """NumPy's own concatenate forgets it."""
    column = RowSet.of([{"port": 1}, {}]).columns["port"]

    assert [1, None, 7] == joined(column, np.array([7])).tolist()
    assert [1, 7] == joined(np.array([1]), np.array([7])).tolist()


def test_a_column_cannot_be_written_to():
    """Nor can what is absent become a number."""
    column = RowSet.of([{"port": 1}, {}]).columns["port"]
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 5
    with pytest.raises(ValueError, match="read-only"):
        column.data[1] = 5
