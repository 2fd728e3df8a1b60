# SPDX-License-Identifier: Apache-2.0
"""Which programs trace the kernel now: third-party ones would be measured along with ours."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import time
from collections.abc import Iterator

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import BPF_NUMBER, info, kernel_call

_NEXT_ID, _DESCRIPTOR_OF = 11, 13  # BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID
_TRACING = (2, 5, 7, 17, 24, 26)
"""Of bpf_prog_type: kprobe, tracepoint, perf_event, raw_tracepoint, raw_tracepoint_writable, tracing."""


def tracing_programs() -> frozenset[int]:
    """The ids of all programs of kinds that trace; empty without the right to know."""
    return frozenset(each for each in _ids() if _type(each) in _TRACING)


def quiet(patience: float) -> bool:
    """Wait until no process traces; false if one still does after ``patience`` seconds."""
    latest = time.monotonic() + patience
    while tracing_programs():
        if time.monotonic() > latest:
            return False
        time.sleep(0.2)
    return True


def _ids() -> Iterator[int]:
    attributes, found = bytearray(128), 0
    while True:
        struct.pack_into("<I", attributes, 0, found)
        if kernel_call(_NEXT_ID, attributes):
            return
        found = struct.unpack_from("<I", attributes, 4)[0]
        yield found


def _type(number: int) -> int:
    """0 when the program is gone already."""
    attributes = bytearray(128)
    struct.pack_into("<I", attributes, 0, number)
    descriptor = _descriptor(attributes)
    if descriptor < 0:
        return 0
    try:
        return int(struct.unpack("<I", info(descriptor, 4))[0])
    finally:
        os.close(descriptor)


def _descriptor(attributes: bytearray) -> int:
    """The call returns a descriptor, which `kernel_call` would take for a failure."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    return int(libc.syscall(BPF_NUMBER[platform.machine()], _DESCRIPTOR_OF, buffer, len(attributes)))
