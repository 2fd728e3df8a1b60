# SPDX-License-Identifier: Apache-2.0
"""Page faults come from an event of each processor: one that comes later, or comes back, must be given its own.

The event of a processor that goes offline ends with it and does not return with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.perf_event import open_event
from ebpf_sidecar.receivers.ebpf.loader.attaching import online
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus, Loaded
from ebpf_sidecar.receivers.ebpf.probe.model import PERF_EVENTS, Probe

from .shedding import idle_maps, without

_WAY = "perf_event "

Opener = Callable[[int, int, int], int]
"""Program's descriptor, event and processor to the descriptor that keeps it attached; raises `OSError`."""


@dataclass
class Newcomers:
    """Looks for processors that came since the probes were attached. ``sys``: where /sys is."""

    loaded: Loaded
    probes: Sequence[Probe]
    warn: Callable[[str], None]
    sys: Path = Path("/sys")
    open: Opener = open_event
    _followed: set[int] = field(default_factory=set)
    _opened: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._followed = set(online(self.sys)) if self._hooks() else set()

    def update(self) -> Loaded | None:
        """Attach to newcomers. Where that is refused, numbers would be too small: what is left without such probes."""
        if not self._hooks():
            self.close()
            return None
        now = set(online(self.sys))
        self._followed &= now
        try:
            for processor in sorted(now - self._followed):
                self._attach(processor)
                self._followed.add(processor)
        except OSError as refusal:
            return self._without(f"processor {processor} came, and its events are refused: {refusal.strerror}")
        return None

    def close(self) -> None:
        """Detach from the newcomers. Again is no error."""
        while self._opened:
            os.close(self._opened.pop())

    def _attach(self, processor: int) -> None:
        programs = {program.name: program.fd for program in self.loaded.programs}
        for hook in self._hooks():
            self._opened.append(self.open(programs[hook.program], PERF_EVENTS[hook.way.removeprefix(_WAY)], processor))
        self.warn(f"processor {processor} came while {self._probes()} ran: it counts from now on, and did not before")

    def _without(self, reason: str) -> Loaded:
        self.warn(f"{self._probes()} is turned off until a restart: {reason}")
        left, gone = self.loaded, sorted({hook.probe for hook in self._hooks()})
        idle = idle_maps(self.probes, gone)
        for probe in gone:
            left = without(left, probe, idle, reason)
        return left

    def _hooks(self) -> list[HookStatus]:
        return [hook for hook in self.loaded.hooks if hook.attached and hook.way.startswith(_WAY)]

    def _probes(self) -> str:
        return ", ".join(dict.fromkeys(hook.probe for hook in self._hooks()))
