# SPDX-License-Identifier: Apache-2.0
"""Whether hooks fire: judged by runs, otherwise by maps, otherwise not at all."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from canary_machine import FIRES, SILENT, CanaryMachine, canary_of

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime
from ebpf_sidecar.receivers.ebpf.probe.model import CanarySpec
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness
from ebpf_sidecar.receivers.ebpf.watch.self_frames import SelfFrames


def test_a_hook_whose_program_ran_is_live_and_one_whose_did_not_is_not():
    """Attached is not the same as firing."""
    found = CanaryMachine().examine()

    assert Liveness(live=True) == found[FIRES]
    assert Liveness(live=False, reason='its program did not run during the action "lookup"') == found[SILENT]


def test_only_the_actions_of_attached_hooks_are_done():
    """Nothing is triggered without hooks."""
    machine = CanaryMachine(silent=CanarySpec("none", reason="chance"))
    machine.examine()
    detached = CanaryMachine(attached=False)

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
    assert Liveness(None, reason) == CanaryMachine(silent=spec).examine()[SILENT]


def test_a_hook_that_nothing_was_meant_to_trigger_is_live_when_it_fires():
    """Others may have triggered it meanwhile."""
    assert CanaryMachine(fires=CanarySpec("none", reason="chance")).examine()[FIRES].live


def test_an_action_that_could_not_be_done_proves_nothing():
    """The reason is passed on."""
    machine = CanaryMachine()
    machine.problems = {"lookup": "no folder on a disk is writable"}

    reason = 'the action "lookup" failed: no folder on a disk is writable'
    assert {Liveness(None, reason)} == set(machine.examine().values())


@pytest.mark.parametrize(("moves", "live"), [(True, True), (False, False)])
def test_without_counted_runs_a_map_that_grows_is_the_evidence(moves, live):
    """For rights that do not include CAP_SYS_ADMIN."""
    machine = CanaryMachine(silent=CanarySpec("process"))
    machine.moves_map = moves
    found = machine.examine(counting=False)

    assert live == found[FIRES].live
    assert found[SILENT].live is None
    assert "CAP_SYS_ADMIN missing" in found[SILENT].reason


@pytest.mark.parametrize(("counting", "live"), [(True, False), (False, None)])
def test_a_map_that_counts_others_only_proves_nothing(counting, live):
    """With targets chosen the canary's own actions may be passed over; runs are counted all the same."""
    found = CanaryMachine().examine(counting=counting, selective=True)

    assert live == found[SILENT].live
    assert counting or "maps count only targets" in found[SILENT].reason


def test_a_map_is_evidence_for_all_probes_that_share_the_program():
    """call_enters is one program for page_cache and syscalls."""
    machine = CanaryMachine(silent=CanarySpec("lookup"))
    machine.moves_map = True
    machine.loaded.hooks = (replace(machine.loaded.hooks[0], program="fires_raw"), machine.loaded.hooks[1])

    assert machine.examine(counting=False)[SILENT].live


def test_a_hook_that_does_not_fire_is_warned_of_once():
    """However often it is looked at."""
    machine = CanaryMachine()
    canary = canary_of(machine)
    for now in (0.0, 600.0, 1200.0):
        canary.when_due(now)

    assert 3 == len(machine.acts)
    assert [
        'hook page_cache::silent is attached but does not fire: its program did not run during the action "lookup"'
    ] == machine.warnings


@pytest.mark.parametrize(("interval", "times"), [(600.0, [0.0, 600.0, 1300.0]), (0.0, [0.0])])
def test_hooks_are_examined_at_the_start_and_at_each_interval(interval, times):
    """An interval of 0 means only at the start."""
    machine, done = CanaryMachine(), []
    canary = canary_of(machine, interval)
    for now in (0.0, 1.0, 599.0, 600.0, 601.0, 1300.0):
        before = len(machine.acts)
        canary.when_due(now)
        done += [now] * (len(machine.acts) - before)

    assert times == done


@pytest.mark.parametrize("problem", [OSError("gone"), ProbeError("map: cannot read it")])
def test_counters_that_cannot_be_read_make_hooks_unknown(problem):
    """And never stop the reading of the probes."""
    machine = CanaryMachine()
    canary = canary_of(machine)
    canary.when_due(0.0)

    @contextmanager
    def failing():
        raise problem
        yield

    canary.statistics = failing
    canary.when_due(600.0)

    assert {Liveness(None, str(problem))} == set(canary.found.values())


def live_points(own, found):
    """The points of ebpf.probe.live, and the row's number of each."""
    frames = [
        frame for frame in own.frames(ReadingTime(1, {}), {"cache_stats_map": 1}, None, found) if "live" in frame.name
    ]
    return [(r["hook"], v, i) for f in frames for r, v, i in zip(f.rows.records(), f.values, f.rows.ids, strict=True)]


def test_the_metric_has_what_is_known_and_nothing_else(tmp_path):
    """A row keeps its number when others become known."""
    machine = CanaryMachine()
    own = SelfFrames(machine.loaded, tmp_path, 0)

    assert [("silent", 0, 0), ("fires", 1, 1)] == live_points(own, machine.examine())
    assert [("fires", 1, 1)] == live_points(own, {SILENT: Liveness(None, "why"), FIRES: Liveness(live=True)})
    assert [] == live_points(own, {SILENT: Liveness(None, "why")})
    assert [] == live_points(own, {})
