# SPDX-License-Identifier: Apache-2.0
"""Page faults are counted by one perf event per CPU: a CPU that comes online later needs its own.

The event of a CPU that goes offline ends, and does not return with the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.perf_event import open_event
from ebpf_sidecar.receivers.ebpf.loader.attaching import online
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus, LoadedProbes
from ebpf_sidecar.receivers.ebpf.probe.model import PERF_EVENTS, Probe

from .shedding import idle_maps, without

_PERF_EVENT = "perf_event "

Opener = Callable[[int, int, int], int]
"""From a program's descriptor, event and CPU to the descriptor that keeps it attached; raises `OSError`."""


@dataclass
class CpuHotplug:
    """Attaches to CPUs that come online after the probes were attached. ``sys``: where /sys is mounted."""

    loaded: LoadedProbes
    probes: Sequence[Probe]
    warn: Callable[[str], None]
    sys: Path = Path("/sys")
    open: Opener = open_event
    _followed: set[int] = field(default_factory=set)
    _opened: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._followed = set(online(self.sys)) if self._hooks() else set()

    def update(self) -> LoadedProbes | None:
        """Attach to new CPUs. If refused, counts would be too small: return what is left without such probes."""
        if not self._hooks():
            self.close()
            return None
        now = set(online(self.sys))
        self._followed &= now
        try:
            for cpu in sorted(now - self._followed):
                self._attach(cpu)
                self._followed.add(cpu)
        except OSError as refusal:
            return self._without(f"CPU {cpu} came online, but its events are refused: {refusal.strerror}")
        return None

    def close(self) -> None:
        """Detach from the new CPUs. May be called twice."""
        while self._opened:
            os.close(self._opened.pop())

    def _attach(self, cpu: int) -> None:
        programs = {program.name: program.fd for program in self.loaded.programs}
        for hook in self._hooks():
            self._opened.append(self.open(programs[hook.program], PERF_EVENTS[hook.way.removeprefix(_PERF_EVENT)], cpu))
        self.warn(
            f"CPU {cpu} came online while {self._probes()} was running: it is counted from now on, but was not before"
        )

    def _without(self, reason: str) -> LoadedProbes:
        self.warn(f"{self._probes()} is turned off until a restart: {reason}")
        left, gone = self.loaded, sorted({hook.probe for hook in self._hooks()})
        idle = idle_maps(self.probes, gone)
        for probe in gone:
            left = without(left, probe, idle, reason)
        return left

    def _hooks(self) -> list[HookStatus]:
        return [hook for hook in self.loaded.hooks if hook.attached and hook.way.startswith(_PERF_EVENT)]

    def _probes(self) -> str:
        return ", ".join(dict.fromkeys(hook.probe for hook in self._hooks()))
