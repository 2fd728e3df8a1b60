# SPDX-License-Identifier: Apache-2.0
"""Increases of several receivers, and of metrics that come and go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import RowSet, streams
from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.increase import Increases
from ebpf_sidecar.pipeline.testing import NOON, frame

SECOND = 1_000_000_000


def rows(*ids):
    """A new row set of those ids."""
    return RowSet(np.array(ids, dtype=np.uint64))


def receiver(name):
    """A receiver's id."""
    return ComponentId(ComponentKind.RECEIVER, "r", name)


def increases_of(increases, frames):
    """What each frame of a batch grew by, first row; None where that is not known."""
    increases.batch(frames)
    grown = [increases.of(each) for each in frames]
    return [None if each is None else each.amounts.tolist()[0] for each in grown]


@given(left=st.lists(st.integers(0, 9), max_size=5), right=st.lists(st.integers(0, 2**40), max_size=5), data=st.data())
def test_two_receivers_never_influence_each_other(left, right, data):
    """The same metric, resource and row ids: each has the same result as alone, in whatever order batches arrive."""
    gains = {"left": left, "right": right}
    order = data.draw(st.permutations([name for name, each in gains.items() for _ in each]))
    alone, together = {name: Increases([].append) for name in gains}, Increases([].append)
    totals, reads = dict.fromkeys(gains, 0), dict.fromkeys(gains, 0)
    for name in order:
        totals[name] += gains[name][reads[name]]
        reads[name] += 1
        time = NOON + reads[name] * SECOND
        made = frame("c", [totals[name]], rows(1), time_unix_nano=time, source=receiver(name))

        assert increases_of(alone[name], [made]) == increases_of(together, [made])


def test_a_metric_away_for_too_long_starts_anew_without_counting_twice(monkeypatch):
    """It is forgotten; when it returns its first batch has no increase, and later ones are right again."""
    monkeypatch.setattr(streams, "MAX_ABSENT_ROUNDS", 3)
    increases, time = Increases([].append), iter(range(NOON, NOON + 99 * SECOND, SECOND))

    def read(**totals):
        now = next(time)
        return increases_of(
            increases, [frame(name, [total], rows(1), time_unix_nano=now) for name, total in totals.items()]
        )

    read(rare=100, busy=1)
    for total in (2, 3):
        read(busy=total)
    before_the_limit = read(rare=107, busy=4)
    for total in (5, 6, 7):
        read(busy=total)
    remembered = len(increases._seen)

    assert [7.0, 1.0] == before_the_limit
    assert 1 == remembered
    assert [None, 1.0] == read(rare=150, busy=8)
    assert [5.0, 1.0] == read(rare=155, busy=9)
    assert [0.0, 1.0, 23.0] == read(rare=155, busy=10, new=23)


def test_frames_of_several_receivers_in_one_batch_are_each_their_own_receivers(monkeypatch):
    """A processor of a plugin may hold frames back and pass them on together."""
    monkeypatch.setattr(streams, "MAX_ABSENT_ROUNDS", 2)
    increases = Increases([].append)
    for number in range(6):
        names = ("left", "right") if number in (0, 5) else ("left",)
        time = NOON + number * SECOND
        grown = increases_of(
            increases, [frame("c", [number], rows(1), time_unix_nano=time, source=receiver(name)) for name in names]
        )

    assert [1.0, 5.0] == grown


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=40))
def test_what_is_remembered_is_bounded_however_many_origins_come_and_go(hosts):
    """Only what the last rounds of the receiver had is remembered; a round ends when an origin comes again."""
    patience, rounds = 2, [set()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "MAX_ABSENT_ROUNDS", patience)
        increases = Increases([].append)
        for number, host in enumerate(hosts):
            time = NOON + number * SECOND
            made = [frame(n, [1], rows(1), time_unix_nano=time, resource={"host.name": host}) for n in ("c", host)]
            increases_of(increases, made)
            rounds += [set()] if host in rounds[-1] else []
            rounds[-1].add(host)
    recent = set().union(*rounds[-patience:])

    assert recent == {stream.origin.resource["host.name"] for stream in increases._seen}
    assert recent == {origin.resource["host.name"] for origin in increases._latest}
    assert {origin.resource["host.name"] for origin in increases._forgotten} <= recent
