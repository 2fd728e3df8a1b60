# SPDX-License-Identifier: Apache-2.0
"""Stopping several things at the same time: none holds up another."""

import logging
import threading

from ebpf_sidecar.pipeline.clock import Deadline, SystemClock
from ebpf_sidecar.pipeline.running.stopping import stop_together


def within(seconds):
    """A deadline in so many real seconds."""
    return Deadline.after(seconds, SystemClock())


def test_parts_stop_at_the_same_time():
    """Each waits for the other, so one after the other would not end."""
    barrier = threading.Barrier(2)

    assert [] == stop_together(dict.fromkeys("ab", lambda: barrier.wait(10)), within(20))


def test_what_still_runs_at_the_deadline_is_named():
    """And is left to the end of the process."""
    release = threading.Event()
    late = stop_together({"slow": lambda: release.wait(10), "quick": lambda: None}, within(0.05))
    release.set()

    assert ["slow"] == late


def test_a_part_that_fails_is_logged_and_counts_as_stopped(caplog):
    """With its name and the traceback."""
    with caplog.at_level(logging.ERROR):
        late = stop_together({"broken": lambda: 1 / 0}, within(10))

    assert [] == late
    assert ["broken: shutdown failed"] == [record.getMessage() for record in caplog.records]
