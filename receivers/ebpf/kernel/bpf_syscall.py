# SPDX-License-Identifier: Apache-2.0
"""The bpf(2) system call.

Reading maps through descriptors that were handed over needs no capability (kernel 6.1 and later).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable
from enum import IntEnum

BpfCall = Callable[[int, bytearray], int]
"""Takes a command and its attributes (changed in place); returns 0 or an errno. Tests inject their own."""

BPF_NUMBER = {"x86_64": 321, "aarch64": 280}
"""The number of bpf(2) by machine."""
_ELEMENT = struct.Struct("<I4xQQQ")
_INFO = struct.Struct("<IIQ")
_ATTRIBUTES = 128


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


def kernel_call(command: int, attributes: bytearray) -> int:
    """The real system call."""
    try:
        opened(command, attributes)
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def opened(command: int, attributes: bytearray) -> int:
    """The same for a command that returns a new descriptor. Raises `OSError`."""
    libc = _libc()
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    while (found := int(libc.syscall(BPF_NUMBER[platform.machine()], command, buffer, len(attributes)))) < 0:
        number = ctypes.get_errno()
        if number != errno.EAGAIN:  # the verifier stops for a signal
            raise OSError(number, os.strerror(number))
    return found


def element(call: BpfCall, command: Command, fd: int, key: int, value: int) -> int:
    """A command on one element; ``key`` and ``value`` are addresses."""
    attributes = bytearray(_ATTRIBUTES)
    _ELEMENT.pack_into(attributes, 0, fd, key, value, 0)
    return call(command, attributes)


def info(fd: int, size: int) -> bytes:
    """The first ``size`` bytes of the kernel's information about a map or program. Raises `OSError`."""
    buffer = ctypes.create_string_buffer(size)
    attributes = bytearray(_ATTRIBUTES)
    _INFO.pack_into(attributes, 0, fd, size, ctypes.addressof(buffer))
    number = kernel_call(Command.INFO, attributes)
    if number:
        raise OSError(number, os.strerror(number))
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


_kept: list[ctypes.CDLL] = []


def _libc() -> ctypes.CDLL:
    if not _kept:
        _kept.append(ctypes.CDLL(None, use_errno=True))
    return _kept[0]
