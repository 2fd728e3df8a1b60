# SPDX-License-Identifier: Apache-2.0
"""A machine for tests of the canary: programs that run, or not, when an action is done."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import CanarySpec, ProbeHook
from ebpf_sidecar.receivers.ebpf.watch.canary import Canary, examine

BPF = Path(__file__).parents[1] / "bpf"
READ = CanarySpec("lookup", "cache_stats.lookups")
FIRES, SILENT = ("page_cache", "fires"), ("page_cache", "silent")


class PlayedProgram:
    """Runs as often as the test requests."""

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


class CanaryMachine:
    """A probe with hooks ``silent`` and ``fires``; only the program of the latter runs when an action is done."""

    def __init__(self, fires=READ, silent=READ, attached=True):
        specs = {"silent": silent, "fires": fires}
        hooks = tuple(ProbeHook(name, (), "", spec) for name, spec in specs.items())
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


def canary_of(machine, interval=600.0):
    """A canary over a played machine."""
    return Canary(
        [machine.probe], machine.loaded, interval, machine.warnings.append, machine.act, lambda: nullcontext(True)
    )
