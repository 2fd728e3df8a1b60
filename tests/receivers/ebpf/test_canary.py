# SPDX-License-Identifier: Apache-2.0
"""Whether hooks fire: judged by runs, else by maps, else not at all."""

import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.testing import frame
from ebpf_sidecar.receivers.ebpf.canary import Canary, Liveness, examine
from ebpf_sidecar.receivers.ebpf.canary_thread import Hurry
from ebpf_sidecar.receivers.ebpf.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.metrics import Moment
from ebpf_sidecar.receivers.ebpf.probe import CanarySpec, Hook, ShownBy
from ebpf_sidecar.receivers.ebpf.probe_file import read_probe
from ebpf_sidecar.receivers.ebpf.selfframes import SelfFrames

BPF = Path(__file__).parents[3] / "bpf"
READ = CanarySpec("lookup", "cache_stats.lookups")
FIRES, SILENT = ("page_cache", "fires"), ("page_cache", "silent")


class PlayedProgram:
    """Runs as often as the test says."""

    def __init__(self, name):
        self.name, self.count = name, 0

    def runs(self):
        return self.count, 0


class PlayedMap:
    """One row with one column."""

    max_entries, value_fields = 64, {"lookups": slice(0, 1)}

    def __init__(self):
        self.total = 5

    def read(self):
        return np.zeros(1), np.array([[self.total]], np.uint64)

    def memory(self):
        return 4096


class Machine:
    """A probe with hooks ``silent`` and ``fires``; only the program of the latter runs when an action is done."""

    def __init__(self, fires=READ, silent=READ, attached=True):
        specs = {"silent": silent, "fires": fires}
        hooks = tuple(Hook(name, (), "", spec) for name, spec in specs.items())
        self.probe = replace(read_probe(BPF / "page_cache.yaml"), hooks=hooks)
        self.programs = {name: PlayedProgram(f"{name}_raw") for name in specs}
        self.map, self.acts, self.problems, self.warnings, self.moves_map = PlayedMap(), [], {}, [], False
        self.loaded = SimpleNamespace(
            hooks=tuple(HookStatus("page_cache", name, f"{name}_raw" if attached else "", "") for name in specs),
            programs=tuple(self.programs.values()),
            maps={"cache_stats_map": self.map},
            drops=SimpleNamespace(reasons=(), read=dict),
        )

    def act(self, wanted):
        self.acts.append(set(wanted))
        if not self.problems:
            self.programs["fires"].count += 3
            self.map.total += self.moves_map
        return self.problems

    def examine(self, *, counting=True, selective=False):
        return examine([self.probe], self.loaded, self.act, lambda: nullcontext(counting), selective=selective)


def test_a_hook_whose_program_ran_is_live_and_one_whose_did_not_is_not():
    """Attached is not the same as firing."""
    found = Machine().examine()

    assert Liveness(live=True) == found[FIRES]
    assert Liveness(live=False, reason='its program did not run at the action "lookup"') == found[SILENT]


def test_only_what_attached_hooks_ask_for_is_done():
    """Nothing is triggered for nobody."""
    machine = Machine(silent=CanarySpec("none", reason="chance"))
    machine.examine()
    detached = Machine(attached=False)

    assert [{"lookup"}] == machine.acts
    assert {} == detached.examine()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (CanarySpec("none", reason="the kernel's choice"), "the kernel's choice"),
        (None, "the probe names no action that triggers it"),
    ],
)
def test_what_nothing_triggers_is_unknown(spec, reason):
    """Neither live nor dead, and never 0."""
    assert Liveness(None, reason) == Machine(silent=spec).examine()[SILENT]


def test_a_hook_that_nothing_was_meant_to_trigger_is_live_when_it_fires():
    """Others may have triggered it meanwhile."""
    assert Machine(fires=CanarySpec("none", reason="chance")).examine()[FIRES].live


def test_an_action_that_could_not_be_done_proves_nothing():
    """The reason is passed on."""
    machine = Machine()
    machine.problems = {"lookup": "no folder on a disk can be written to"}

    reason = 'the action "lookup" could not be done: no folder on a disk can be written to'
    assert {Liveness(None, reason)} == set(machine.examine().values())


@pytest.mark.parametrize(("moves", "live"), [(True, True), (False, False)])
def test_without_counted_runs_a_map_that_grows_is_the_evidence(moves, live):
    """For rights that do not include CAP_SYS_ADMIN."""
    machine = Machine(silent=CanarySpec("process"))
    machine.moves_map = moves
    found = machine.examine(counting=False)

    assert live == found[FIRES].live
    assert found[SILENT].live is None
    assert "CAP_SYS_ADMIN missing" in found[SILENT].reason


@pytest.mark.parametrize(("counting", "live"), [(True, False), (False, None)])
def test_a_map_that_counts_others_only_proves_nothing(counting, live):
    """With targets chosen the canary's own actions may be passed over; runs are counted all the same."""
    found = Machine().examine(counting=counting, selective=True)

    assert live == found[SILENT].live
    assert counting or "maps count targets only" in found[SILENT].reason


def test_a_map_tells_for_all_probes_that_share_the_program():
    """call_enters is one program for page_cache and syscalls."""
    machine = Machine(silent=CanarySpec("lookup"))
    machine.moves_map = True
    machine.loaded.hooks = (replace(machine.loaded.hooks[0], program="fires_raw"), machine.loaded.hooks[1])

    assert machine.examine(counting=False)[SILENT].live


def canary_of(machine, interval=600.0):
    """A canary over a played machine."""
    return Canary(
        [machine.probe], machine.loaded, interval, machine.warnings.append, machine.act, lambda: nullcontext(True)
    )


def test_a_hook_that_does_not_fire_is_warned_of_once():
    """However often it is looked at."""
    machine = Machine()
    canary = canary_of(machine)
    for now in (0.0, 600.0, 1200.0):
        canary.when_due(now)

    assert 3 == len(machine.acts)
    assert [
        'hook page_cache::silent is attached but does not fire: its program did not run at the action "lookup"'
    ] == machine.warnings


@pytest.mark.parametrize(("interval", "times"), [(600.0, [0.0, 600.0, 1300.0]), (0.0, [0.0])])
def test_it_looks_at_the_start_and_at_each_interval(interval, times):
    """An interval of 0 means only at the start."""
    machine, done = Machine(), []
    canary = canary_of(machine, interval)
    for now in (0.0, 1.0, 599.0, 600.0, 601.0, 1300.0):
        before = len(machine.acts)
        canary.when_due(now)
        done += [now] * (len(machine.acts) - before)

    assert times == done


@pytest.mark.parametrize("problem", [OSError("gone"), ProbeError("map: cannot read it")])
def test_counters_that_cannot_be_read_make_hooks_unknown(problem):
    """And never stop the reading of the probes."""
    machine = Machine()
    canary = canary_of(machine)
    canary.when_due(0.0)

    @contextmanager
    def failing():
        raise problem
        yield

    canary.statistics = failing
    canary.when_due(600.0)

    assert {Liveness(None, str(problem))} == set(canary.found.values())


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
        while canary._hurry.waiting:
            time.sleep(0.001)


@pytest.fixture
def slow():
    """A machine whose disk hangs, and a canary that waits for it for an instant only."""
    machine = Machine()
    disk, canary = SlowDisk(machine), canary_of(machine)
    canary._hurry = Hurry(disk.act, patience=0.05, clock=lambda: machine.now)
    machine.now = 0.0
    yield machine, disk, canary
    disk.gate.set()


def test_a_disk_that_hangs_stops_no_reading(slow):
    """What it triggers is not known, what ran is live all the same, and nothing else is begun."""
    machine, _, canary = slow
    for now in (0.0, 1.0, 600.0):
        machine.now = now
        canary.when_due(now)

    assert Liveness(None, 'the action "lookup" could not be done: it has not ended for 600 s') == canary.found[SILENT]
    assert 1 == len(machine.acts)
    assert ["the canary's actions have not ended for 0 s"] == [line.partition(", as")[0] for line in machine.warnings]


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


def test_a_disk_that_is_always_slow_is_not_asked_at_each_reading(slow):
    """Once more, then at the next interval."""
    machine, disk, canary = slow
    for now in (0.0, 10.0, 20.0, 30.0):
        disk.gate.clear()
        canary.when_due(now)
        disk.end(canary)

    assert 2 == len(machine.acts)


def test_actions_that_break_prove_nothing():
    """Whatever a thread raises, nobody would hear of it."""

    def broken(_):
        raise RuntimeError("nobody thought of this")

    machine = Machine()
    machine.act = broken
    canary = canary_of(machine)
    canary.when_due(0.0)

    assert 'the action "lookup" could not be done: nobody thought of this' == canary.found[SILENT].reason


def reclaims(**counts):
    """The frame of a metric that counts by reclaimer."""
    return frame("reclaims", list(counts.values()), [{"reclaimer": name} for name in counts])


def test_a_hook_that_nothing_may_trigger_is_live_once_its_metric_shows_so():
    """In the rows that it alone makes; and it stays live, however long until it fires again."""
    spec = CanarySpec("none", reason="never on purpose", shown_by=ShownBy("reclaims", {"reclaimer": "direct"}))
    machine = Machine(silent=spec)
    canary, live = canary_of(machine), []
    for now, shown in enumerate([reclaims(memcg=3), reclaims(direct=0), reclaims(direct=1), reclaims(memcg=4)]):
        canary.when_due(now * 600.0)
        canary.notice([shown])
        live.append(canary.found[SILENT].live)

    assert [None, None, True, True] == live


def test_a_hook_that_nothing_may_trigger_is_live_when_it_ever_ran():
    """Where runs are counted all the time, as with probe_statistics; and a probe that is turned off has none."""
    machine = Machine(silent=CanarySpec("none", reason="never on purpose"))
    machine.programs["silent"].count = 1
    canary = canary_of(machine)
    canary.when_due(0.0)
    seen = canary.found[SILENT]
    machine.loaded.hooks = (replace(machine.loaded.hooks[0], program=""), machine.loaded.hooks[1])
    canary.follow(machine.loaded)

    assert Liveness(live=True) == seen
    assert {FIRES} == set(canary.found)


def live_points(own, found):
    """The points of ebpf.probe.live, and the row's number of each."""
    frames = [frame for frame in own.frames(Moment(1, {}), {"cache_stats_map": 1}, None, found) if "live" in frame.name]
    return [(r["hook"], v, i) for f in frames for r, v, i in zip(f.rows.records(), f.values, f.rows.ids, strict=True)]


def test_the_metric_has_what_is_known_and_nothing_else(tmp_path):
    """A row keeps its number when others become known."""
    machine = Machine()
    own = SelfFrames(machine.loaded, tmp_path, 0)

    assert [("silent", 0, 0), ("fires", 1, 1)] == live_points(own, machine.examine())
    assert [("fires", 1, 1)] == live_points(own, {SILENT: Liveness(None, "why"), FIRES: Liveness(live=True)})
    assert [] == live_points(own, {SILENT: Liveness(None, "why")})
    assert [] == live_points(own, {})
