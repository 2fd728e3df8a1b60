# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` at random moments under load: what the queue on disk had taken arrives, and little arrives twice."""

import random
from collections import Counter

from killed_queue import CONSUMERS, POINTS, Killed


def test_nothing_that_was_acknowledged_is_lost_and_little_arrives_twice(tmp_path, full_length):
    """At most one payload for each consumer is delivered again after each kill; each process restores what waits."""
    queue, chance = Killed(tmp_path), random.Random()
    for _ in range(50 if full_length else 4):
        before = queue.waiting()
        restored = queue.run_and_kill(chance.uniform(0.01, 0.5)) // POINTS

        # after each kill: stored and not acknowledged, one batch; arrived and not forgotten, one for each consumer
        assert before <= restored <= before + queue.killed * (1 + CONSUMERS)
    before, ledger = queue.waiting(), queue.drain()
    acknowledged, arrived = queue.lines("acknowledged"), Counter(queue.lines("arrived"))

    assert len(acknowledged) > 10
    assert [] == [number for number in acknowledged if number not in arrived]
    assert len(set(arrived) - set(acknowledged)) <= queue.killed
    assert sum(arrived.values()) - len(arrived) <= queue.killed * CONSUMERS
    assert before <= ledger["restored"] // POINTS
    assert (ledger["restored"], 0, {}) == (ledger["sent"], ledger["queued"], ledger["drops"])
