# SPDX-License-Identifier: Apache-2.0
"""What continues what, and for how long that is remembered."""

from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import streams
from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.frame import Scope
from ebpf_sidecar.pipeline.streams import Attendance
from ebpf_sidecar.pipeline.testing import frame

RECEIVER = ComponentId(ComponentKind.RECEIVER, "r")


def test_a_stream_is_a_metric_of_a_receiver_a_scope_and_a_resource():
    """Each of the four distinguishes streams; values, units and rows do not."""
    others = [
        frame("b", [1]),
        frame("a", [1], resource={"host.name": "x"}),
        frame("a", [1], scope=Scope("another")),
        frame("a", [1], source=RECEIVER),
    ]

    assert frame("a", [1]).stream == frame("a", [2, 3], unit="s", resource={}).stream
    assert 5 == len({each.stream for each in [frame("a", [1]), *others]})


def test_batches_of_other_receivers_do_not_count(monkeypatch):
    """A slow receiver is not forgotten while a quick one has many batches."""
    monkeypatch.setattr(streams, "MAX_ABSENT_BATCHES", 2)
    attendance = Attendance()
    attendance.batch("slow", ["a", "b"])
    quick = [attendance.batch("quick", ["c"]) for _ in range(9)]
    slow = [attendance.batch("slow", ["a"]) for _ in range(3)]

    assert [[]] * 9 == quick
    assert [[], ["b"], []] == slow


@given(st.lists(st.sets(st.sampled_from("abcdef"))), st.integers(1, 4))
def test_each_is_given_once_when_it_was_absent_for_that_long(batches, patience):
    """The model: a key is gone in the batch that is so many after its last."""
    with_patience, attendance = [], Attendance()
    original, streams.MAX_ABSENT_BATCHES = streams.MAX_ABSENT_BATCHES, patience
    try:
        with_patience = [sorted(attendance.batch(None, each)) for each in batches]
    finally:
        streams.MAX_ABSENT_BATCHES = original
    expected = [
        sorted(
            key
            for key in (batches[number - patience] if number >= patience else ())
            if not any(key in later for later in batches[number - patience + 1 : number + 1])
        )
        for number in range(len(batches))
    ]

    assert expected == with_patience
