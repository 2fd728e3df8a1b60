# SPDX-License-Identifier: Apache-2.0
"""Which programs trace the kernel now: third-party ones would be measured along with ours."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import info, kernel_call, opened, packed

_NEXT_ID, _DESCRIPTOR_OF = 11, 13  # BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID
_ID = struct.Struct("<I")
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
    found = 0
    while not kernel_call(_NEXT_ID, attributes := packed(_ID, found)):
        found = _ID.unpack_from(attributes, 4)[0]
        yield found


def _type(number: int) -> int:
    """0 when the program is gone already."""
    try:
        descriptor = opened(_DESCRIPTOR_OF, packed(_ID, number))
    except OSError:
        return 0
    try:
        return int(_ID.unpack(info(descriptor, 4))[0])
    finally:
        os.close(descriptor)
