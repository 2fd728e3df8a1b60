# SPDX-License-Identifier: Apache-2.0
"""Twenty thousand processes that come and go, beside some that stay."""

import numpy as np
import pytest
from folding_machine import EXPIRATION, SECOND, lines

from ebpf_sidecar.pipeline import RowSet, Text
from ebpf_sidecar.pipeline.cardinality import row_table
from ebpf_sidecar.pipeline.cardinality.folding import Folding
from ebpf_sidecar.pipeline.testing import NOON, frame

STAYING, COMING, TICKS, LIVES = 60, 500, 40, 5
"""Processes that stay, how many come in each tick, how many ticks there are, and for how many each is reported."""
CGROUPS = 20
BOUNDS = tuple(2.0**n for n in range(10))


class Churn:
    """Reports processes as a receiver does; ``done`` is what all of them did in the tick."""

    def __init__(self):
        self.random = np.random.default_rng(1)
        self.total = np.zeros((STAYING + COMING * TICKS, len(BOUNDS) + 1), np.uint64)
        self.done = 0

    def tick(self, number):
        """The frames of a tick: rows that stay, and those of the last few ticks."""
        first = max(0, number + 1 - LIVES)
        alive = np.append(np.arange(STAYING), STAYING + np.arange(first * COMING, (number + 1) * COMING))
        work = self.random.integers(0, 1000, (len(alive), len(BOUNDS) + 1)).astype(np.uint64)
        self.total[alive] += work
        self.done = work.sum(axis=0)
        columns = {
            "process.linux.cgroup": Text.of(f"/{n % CGROUPS}" for n in alive.tolist()),
            "process.executable.name": Text.of(f"p{n}" for n in alive.tolist()),
        }
        rows, time = RowSet(alive, columns), {"time_unix_nano": NOON + number * 10 * SECOND}
        total = self.total[alive]
        return [
            frame("calls", total, rows, unit="s", bounds=BOUNDS, sums=total.sum(axis=1).astype(float), **time),
            frame("bytes", total[:, 0], rows, unit="By", **time),
        ]


def grown(frame, before):
    """By how much all rows grew together since ``before``, which is brought up to date."""
    now = dict(zip(zip(frame.rows.ids.tolist(), frame.start_times().tolist(), strict=True), frame.values, strict=True))
    growth = sum(values.astype(object) - before.get(row, 0) for row, values in now.items())
    before |= now
    return growth


@pytest.mark.parametrize("budget", [1000, 9700])
def test_the_sums_of_increases_are_the_kernels_in_every_interval_and_memory_is_flat(budget, monkeypatch):
    """Of 20,000 processes; once the bound of remembered rows is reached, nothing grows."""
    monkeypatch.setattr(row_table, "MAX_ABSENT_ROWS", 5000)
    folding, churn, calls, moved, kept = Folding(budget, EXPIRATION, lines), Churn(), {}, {}, []
    for number in range(TICKS):
        durations, sizes = folding.fold(churn.tick(number), 10.0 * number)

        assert (grown(durations, calls) == churn.done).all()
        assert grown(sizes, moved) == churn.done[0]
        assert budget >= folding.used
        kept.append(folding.memory())
    assert folding.folded > COMING
    assert [kept[15]] * (TICKS - 15) == kept[15:]


def test_rows_that_were_absent_for_hours_are_forgotten():
    """Memory follows what lives: receivers give such rows up, and their ids never return."""
    folding = Folding(10_000, EXPIRATION)
    for minute in range(300):
        rows = RowSet.of([{"process.executable.name": f"p{minute}"}], first_id=minute)
        folding.fold([frame("work", [1], rows, time_unix_nano=NOON + minute * 60 * SECOND)], 60.0 * minute)
    [table] = [each.table for each in folding._streams.values()]

    assert 120 <= len(table) <= 122
