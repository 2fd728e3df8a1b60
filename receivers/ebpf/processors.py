# SPDX-License-Identifier: Apache-2.0
"""Page faults come from an event of each processor: one that comes later, or comes back, must be given its own.

The event of a processor that goes offline ends with it and does not return with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .attaching import SOFTWARE_EVENT, online
from .loaded import HookStatus, Loaded
from .probe import PERF_EVENTS, Probe
from .shedding import idle_maps, without

_NUMBER = {"x86_64": 298, "aarch64": 241}  # of perf_event_open(2)
_ATTRIBUTES = struct.Struct("<IIQQ40x")  # struct perf_event_attr as it was at first: type, size, config, sample_period
_CLOSE_ON_EXEC = 8
_SET_PROGRAM, _ENABLE = 0x40042408, 0x2400
_WAY = "perf_event "

Opener = Callable[[int, int, int], int]
"""Program's descriptor, event and processor to the descriptor that keeps it attached; raises `OSError`."""


def open_event(program: int, event: int, processor: int) -> int:
    """Run ``program`` at every single ``event`` of ``processor``, until the descriptor is closed. Raises `OSError`."""
    attributes = ctypes.create_string_buffer(_ATTRIBUTES.pack(SOFTWARE_EVENT, _ATTRIBUTES.size, event, 1))
    libc = ctypes.CDLL(None, use_errno=True)
    opened = int(libc.syscall(_NUMBER[platform.machine()], attributes, -1, processor, -1, _CLOSE_ON_EXEC))
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        fcntl.ioctl(opened, _SET_PROGRAM, program)
        fcntl.ioctl(opened, _ENABLE, 0)
    except OSError:
        os.close(opened)
        raise
    return opened


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
