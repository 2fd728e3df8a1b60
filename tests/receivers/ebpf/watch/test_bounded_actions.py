# SPDX-License-Identifier: Apache-2.0
"""The canary where the disk hangs, and where nothing may be triggered: it waits, and nothing waits for it."""

import threading
import time
from dataclasses import replace

import pytest
from canary_machine import FIRES, SILENT, CanaryMachine, canary_of

from ebpf_sidecar.pipeline.testing import frame
from ebpf_sidecar.receivers.ebpf.probe.model import CanarySpec, ShownBy
from ebpf_sidecar.receivers.ebpf.watch.bounded_actions import BoundedActions
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness


class SlowDisk:
    """Actions that end when the test says so."""

    def __init__(self, machine):
        self.machine, self.gate = machine, threading.Event()

    def act(self, wanted):
        found = self.machine.act(wanted)
        self.gate.wait(60)
        return found

    def end(self, canary):
        """Let the disk answer."""
        self.gate.set()
        while canary._bounded.waiting:
            time.sleep(0.001)


@pytest.fixture
def slow():
    """A machine whose disk hangs, and a canary that waits only briefly."""
    machine = CanaryMachine()
    disk, canary = SlowDisk(machine), canary_of(machine)
    canary._bounded = BoundedActions(disk.act, timeout=0.05, clock=lambda: machine.now)
    machine.now = 0.0
    yield machine, disk, canary
    disk.gate.set()


def test_a_disk_that_hangs_stops_no_reading(slow):
    """What it triggers is not known, what ran is live all the same, and nothing else is started."""
    machine, _, canary = slow
    for now in (0.0, 1.0, 600.0):
        machine.now = now
        canary.when_due(now)

    assert Liveness(None, 'the action "lookup" failed: it has not finished for 600 s') == canary.found[SILENT]
    assert 1 == len(machine.acts)
    assert ["the canary's actions have not finished for 0 s"] == [
        line.partition(", as")[0] for line in machine.warnings
    ]


def test_once_a_slow_disk_has_answered_hooks_are_examined_anew(slow):
    """At the next reading, not at the next interval."""
    machine, disk, canary = slow
    canary.when_due(0.0)
    assert canary.found[FIRES].live
    assert canary.found[SILENT].live is None

    disk.end(canary)
    canary.when_due(10.0)

    assert [{"lookup"}] * 2 == machine.acts
    assert {FIRES: True, SILENT: False} == {name: each.live for name, each in canary.found.items()}


def test_a_disk_that_is_always_slow_is_not_tried_at_each_reading(slow):
    """Once more, then at the next interval."""
    machine, disk, canary = slow
    for now in (0.0, 10.0, 20.0, 30.0):
        disk.gate.clear()
        canary.when_due(now)
        disk.end(canary)

    assert 2 == len(machine.acts)


def test_actions_that_break_prove_nothing():
    """Whatever a thread raises would go unnoticed."""

    def broken(_):
        raise RuntimeError("nobody thought of this")

    machine = CanaryMachine()
    machine.act = broken
    canary = canary_of(machine)
    canary.when_due(0.0)

    assert 'the action "lookup" failed: nobody thought of this' == canary.found[SILENT].reason


def reclaims(**counts):
    """The frame of a metric that counts by reclaimer."""
    return frame("reclaims", list(counts.values()), [{"reclaimer": name} for name in counts])


def test_a_hook_that_nothing_may_trigger_is_live_once_its_metric_shows_so():
    """In the rows that it alone makes; and it stays live, however long until it fires again."""
    spec = CanarySpec("none", reason="never on purpose", shown_by=ShownBy("reclaims", {"reclaimer": "direct"}))
    machine = CanaryMachine(silent=spec)
    canary, live = canary_of(machine), []
    for now, shown in enumerate([reclaims(memcg=3), reclaims(direct=0), reclaims(direct=1), reclaims(memcg=4)]):
        canary.when_due(now * 600.0)
        canary.notice([shown])
        live.append(canary.found[SILENT].live)

    assert [None, None, True, True] == live


def test_a_hook_that_nothing_may_trigger_is_live_when_it_ever_ran():
    """Where runs are counted all the time, as with probe_statistics; and a probe that is turned off has none."""
    machine = CanaryMachine(silent=CanarySpec("none", reason="never on purpose"))
    machine.programs["silent"].count = 1
    canary = canary_of(machine)
    canary.when_due(0.0)
    seen = canary.found[SILENT]
    machine.loaded.hooks = (replace(machine.loaded.hooks[0], program=""), machine.loaded.hooks[1])
    canary.follow(machine.loaded)

    assert Liveness(live=True) == seen
    assert {FIRES} == set(canary.found)
