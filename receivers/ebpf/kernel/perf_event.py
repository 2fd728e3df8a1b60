# SPDX-License-Identifier: Apache-2.0
"""Perf events that run a program: perf_event_open(2)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from dataclasses import dataclass

from .system_call import system_call

SOFTWARE_EVENT, TRACEPOINT_EVENT = 1, 2
"""PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT."""

_ATTRIBUTES = struct.Struct("<IIQQ32xQ8x")  # struct perf_event_attr: type, size, config, sample_period, config1
_CLOSE_ON_EXEC = 8
_SET_PROGRAM, _ENABLE = 0x40042408, 0x2400


@dataclass(frozen=True, slots=True)
class PerfEvent:
    """``type`` and ``config`` as in struct perf_event_attr. ``function``: the kernel function to probe, if any."""

    type: int
    config: int
    function: str = ""

    def open(self, program: int, cpu: int) -> int:
        """Run ``program`` at every event on ``cpu``, until the descriptor is closed. Raises `OSError`.

        For tracepoints and functions it runs on all CPUs, whichever is given.
        """
        function = ctypes.create_string_buffer(self.function.encode())
        address = ctypes.addressof(function) if self.function else 0
        packed = _ATTRIBUTES.pack(self.type, _ATTRIBUTES.size, self.config, 1, address)
        attributes = ctypes.create_string_buffer(packed)
        opened = system_call("perf_event_open", attributes, -1, cpu, -1, _CLOSE_ON_EXEC)
        try:
            fcntl.ioctl(opened, _SET_PROGRAM, program)
            fcntl.ioctl(opened, _ENABLE, 0)
        except OSError:
            os.close(opened)
            raise
        return opened


def open_event(program: int, event: int, cpu: int) -> int:
    """Run ``program`` at every software ``event`` on ``cpu``. Raises `OSError`."""
    return PerfEvent(SOFTWARE_EVENT, event).open(program, cpu)
