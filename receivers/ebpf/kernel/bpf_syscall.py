# SPDX-License-Identifier: Apache-2.0
"""The bpf(2) system call.

Reading maps through descriptors that were handed over needs no capability (kernel 6.1 and later).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable
from enum import IntEnum

from .system_call import system_call

BpfCall = Callable[[int, bytearray], int]
"""Takes a command and its attributes (changed in place); returns 0 or an errno. Tests inject their own."""

_ELEMENT = struct.Struct("<I4xQQQ")
_INFO = struct.Struct("<IIQ")
_ATTRIBUTES = 128  # bytes


class Command(IntEnum):
    """bpf(2) commands."""

    MAP_CREATE = 0
    UPDATE = 2
    PROG_LOAD = 5
    INFO = 15
    RAW_TRACEPOINT_OPEN = 17
    LOOKUP_BATCH = 24
    LOOKUP_AND_DELETE_BATCH = 25
    DELETE_BATCH = 27
    ENABLE_STATS = 32  # since 5.8; needs CAP_SYS_ADMIN


def packed(layout: struct.Struct, *values: object) -> bytearray:
    """The attributes of a command."""
    attributes = bytearray(_ATTRIBUTES)
    layout.pack_into(attributes, 0, *values)
    return attributes


def kernel_call(command: int, attributes: bytearray) -> int:
    """The real system call."""
    try:
        opened(command, attributes)
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def opened(command: int, attributes: bytearray) -> int:
    """The same for a command that returns a new descriptor. Raises `OSError`."""
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    while True:
        try:
            return system_call("bpf", command, buffer, len(attributes))
        except OSError as error:
            if error.errno != errno.EAGAIN:  # the verifier stops for a signal
                raise


def element(call: BpfCall, command: Command, fd: int, key: int, value: int) -> int:
    """A command on one element; ``key`` and ``value`` are addresses."""
    return call(command, packed(_ELEMENT, fd, key, value, 0))


def info(fd: int, size: int) -> bytes:
    """The first ``size`` bytes of the kernel's information about a map or program. Raises `OSError`."""
    buffer = ctypes.create_string_buffer(size)
    opened(Command.INFO, packed(_INFO, fd, size, ctypes.addressof(buffer)))
    return buffer.raw


def map_sizes(fd: int) -> tuple[int, int, int]:
    """The sizes of a key and a value in bytes, and the map's max_entries. Raises `OSError`."""
    _, _, key_size, value_size, entries = struct.unpack("<IIIII", info(fd, 20))
    return key_size, value_size, entries


def program_runs(fd: int) -> tuple[int, int]:
    """How often a program ran and for how many nanoseconds, while kernel.bpf_stats_enabled was on. Raises `OSError`."""
    nanoseconds, runs = struct.unpack_from("<QQ", info(fd, 208), 192)
    return runs, nanoseconds


def program_misses(fd: int) -> int:
    """How often the kernel skipped a program because it was already running (0 before 5.12). Raises `OSError`."""
    return int(struct.unpack_from("<Q", info(fd, 216), 208)[0])
