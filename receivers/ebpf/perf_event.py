# SPDX-License-Identifier: Apache-2.0
"""One processor's perf event that runs a program: perf_event_open(2)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct

SOFTWARE_EVENT = 1
"""PERF_TYPE_SOFTWARE."""

_NUMBER = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES = struct.Struct("<IIQQ40x")  # struct perf_event_attr as it was at first: type, size, config, sample_period
_CLOSE_ON_EXEC = 8
_SET_PROGRAM, _ENABLE = 0x40042408, 0x2400


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
