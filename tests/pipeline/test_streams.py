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
    monkeypatch.setattr(streams, "MAX_ABSENT_ROUNDS", 2)
    attendance = Attendance()
    attendance.batch("slow", ["a", "b"])
    quick = [attendance.batch("quick", ["c"]) for _ in range(9)]
    slow = [attendance.batch("slow", ["a"]) for _ in range(3)]

    assert [[]] * 9 == quick
    assert [[], ["b"], []] == slow


def test_many_senders_behind_a_receiver_are_one_round(monkeypatch):
    """However many there are, none is forgotten while it goes on sending."""
    monkeypatch.setattr(streams, "MAX_ABSENT_ROUNDS", 2)
    attendance, senders = Attendance(), range(500)
    first = [attendance.batch("gateway", [sender]) for _ in range(4) for sender in senders]
    without = [attendance.batch("gateway", [sender]) for _ in range(3) for sender in senders if sender != 7]

    assert not any(first)
    assert [7] == [gone for each in without for gone in each]


def test_keys_that_never_return_do_not_take_more_and_more_memory(monkeypatch):
    """Those that were seen longest ago go."""
    monkeypatch.setattr(streams, "MAX_KEYS", 10)
    attendance = Attendance()

    assert list(range(90)) == [gone for key in range(100) for gone in attendance.batch("r", [key])]


@given(st.lists(st.sets(st.sampled_from("abcdef"))), st.integers(1, 4))
def test_each_is_given_once_when_it_was_absent_for_that_long(batches, patience):
    """The model: rounds as sets; a key is gone when it is in none of the last ones."""
    attendance, rounds, known = Attendance(), [set()], set()
    original, streams.MAX_ABSENT_ROUNDS = streams.MAX_ABSENT_ROUNDS, patience
    try:
        for batch in batches:
            if rounds[-1] & batch:
                rounds.append(set())
            rounds[-1] |= batch
            known |= batch
            expected = known - set().union(*rounds[-patience:])
            known -= expected
            assert sorted(expected) == sorted(attendance.batch(None, batch))
    finally:
        streams.MAX_ABSENT_ROUNDS = original
