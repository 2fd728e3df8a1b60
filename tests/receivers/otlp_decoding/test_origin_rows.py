# SPDX-License-Identifier: Apache-2.0
"""Rows have ids that last, row sets are the same object while nothing changes, and both are forgotten in time."""

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st
from otlp_requests import add_point, one_metric

from ebpf_sidecar.pipeline.testing import FakeClock
from ebpf_sidecar.receivers.otlp_decoding.origins import FORGET_SECONDS, Origins
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder

SETS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y", 1, 1.0, True]), max_size=2)


def sent(*rows, name="work.done", resource=None, kind="gauge"):
    """A request with a point for each set of attributes."""
    request, data = one_metric(kind, name=name, resource=resource)
    for row in rows:
        add_point(data, row, as_double=1.0)
    return request.SerializeToString()


def rows(decoder, *attributes, **parts):
    """The row set of the only frame."""
    [frame] = decoder.decode(sent(*attributes, **parts)).frames
    return frame.rows


def test_equal_rows_are_the_same_object():
    """From request to request, and of different metrics; so what is derived from them is kept."""
    decoder, records = RequestDecoder(FakeClock()), [{"a": "1"}, {"a": "2"}]

    assert 1 == len({id(rows(decoder, *records, name=name)) for name in ("one", "two", "one", "three", "two")})


def test_a_metric_whose_points_come_in_parts_keeps_the_rows_of_each():
    """As clients send more points than fit into one request."""
    decoder = RequestDecoder(FakeClock())
    parts = [[{"a": str(number)}] for number in range(3)]
    first = [rows(decoder, *part) for part in parts]

    assert first == [rows(decoder, *part) for part in parts]


@given(st.lists(st.lists(SETS, max_size=4), max_size=5))
def test_an_attribute_set_keeps_its_id_and_shares_it_with_no_other(batches):
    """Whatever comes with it, in whichever order; 1, 1.0 and true are different values."""
    decoder, ids, known = RequestDecoder(FakeClock()), {}, {}
    for batch in batches:
        distinct = {key_of(row): row for row in batch}
        for frame in decoder.decode(sent(*batch)).frames:
            assert len(distinct) == len(frame.rows)
            for key, id_ in zip(distinct, frame.rows.ids.tolist(), strict=True):
                assert id_ == ids.setdefault(key, id_)
                assert key == known.setdefault(id_, key)


def key_of(attributes):
    """What makes an attribute set another one."""
    return tuple(sorted((name, repr(value)) for name, value in attributes.items()))


def test_the_order_of_attributes_does_not_matter():
    """It is no part of the set."""
    decoder = RequestDecoder(FakeClock())

    assert [0] == rows(decoder, {"a": "1", "b": "2"}).ids.tolist() == rows(decoder, {"b": "2", "a": "1"}).ids.tolist()


def test_senders_share_no_ids():
    """The same attributes of another resource are another row."""
    decoder = RequestDecoder(FakeClock())
    ids = [rows(decoder, {"a": "1"}, resource={"host.name": host}).ids.tolist() for host in ("x", "y", "x")]

    assert [[0], [1], [0]] == ids


def test_points_with_the_same_attributes_are_one_row():
    """The first is passed on; the others are counted, because rows are unique."""
    decoding = RequestDecoder(FakeClock()).decode(sent({"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "1", "b": ""}))
    [frame] = decoding.frames

    assert ({"duplicate_attributes": 2}, 2) == (decoding.rejected, len(frame))
    assert 1 == decoding.absent


def test_a_sender_that_is_absent_for_an_hour_is_forgotten():
    """Its rows are new when it returns; nothing of it stays in memory."""
    clock = FakeClock()
    decoder = RequestDecoder(clock)
    before = weakref.ref(rows(decoder, {"a": "1"}, resource={"host.name": "x"}))
    clock.advance(FORGET_SECONDS + 1)
    rows(decoder, {"a": "1"}, resource={"host.name": "y"})
    gc.collect()

    assert before() is None
    assert [2] == rows(decoder, {"a": "1"}, resource={"host.name": "x"}).ids.tolist()


def test_rows_and_metrics_that_are_absent_for_an_hour_are_forgotten():
    """While their sender continues; those that it still sends keep their ids, however long their row set is reused."""
    clock = FakeClock()
    decoder = RequestDecoder(clock)
    rows(decoder, {"a": "gone"})
    rows(decoder, {"a": "other"}, name="other")
    for _ in range(12):
        kept = rows(decoder, {"a": "kept"}).ids.tolist()
        clock.advance(FORGET_SECONDS / 4)
    [origin] = decoder._origins._origins.values()

    assert [2] == kept == rows(decoder, {"a": "kept"}).ids.tolist()
    assert (1, 1) == (len(origin._rows), len(origin._described))
    assert [3] == rows(decoder, {"a": "gone"}).ids.tolist()


def test_memory_is_bounded_whoever_sends():
    """Those that were not heard of for the longest time are forgotten first, and the others keep their ids."""
    origins = Origins(most_rows=300)
    decoder = RequestDecoder(FakeClock(), origins)
    for host in range(500):
        rows(decoder, {"a": "1"}, resource={"host.name": str(host)})
        kept = rows(decoder, {"a": "1"}, resource={"host.name": "first"}).ids.tolist()

        assert len(origins) <= 101

    assert [1] == kept


def test_rows_that_change_all_the_time_are_not_kept():
    """Of the row sets of a metric only the latest few."""
    decoder = RequestDecoder(FakeClock())
    made = weakref.WeakSet(rows(decoder, {"a": "1"}, {"b": str(number)}) for number in range(50))
    gc.collect()

    assert len(made) <= 5
