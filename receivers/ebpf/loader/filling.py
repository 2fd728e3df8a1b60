# SPDX-License-Identifier: Apache-2.0
"""Fills maps that programs only read, before anything is attached: no program may see half a set."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Mapping, Sequence

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import Command, element, kernel_call
from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, LoadProblem
from ebpf_sidecar.receivers.ebpf.loading.refusal import LoadRefused
from ebpf_sidecar.receivers.ebpf.probe.model import CALL_FIELDS

_VALUE_BYTES = 8
_REPAIRS = {
    errno.E2BIG: "choose fewer system calls (probes) or fewer targets",
    errno.ENOMEM: "lower max_map_memory, or give the service more memory",
}
_REPAIR = '"ebpf-sidecar doctor" shows what this kernel refuses'


def fill_calls(maps: Mapping[str, int], calls: Mapping[int, Mapping[str, int]]) -> None:
    """Write what to do for each system call, by number. ``maps``: descriptors by name. Raises `LoadRefused`."""
    for number, fields in calls.items():
        _update("calls", maps["calls"], number.to_bytes(4, sys.byteorder), packed(fields))


def fill_sets(maps: Mapping[str, int], sets: Mapping[str, Sequence[str]]) -> None:
    """Write keys (hexadecimal), by the map's name. Raises `LoadRefused`."""
    for name, keys in sets.items():
        for key in keys:
            _update(name, maps[name], bytes.fromhex(key), bytes(_VALUE_BYTES))


def packed(fields: Mapping[str, int]) -> bytes:
    """``struct call`` of bpf/thread.h."""
    return bytes(fields.get(name, 0) for name in CALL_FIELDS).ljust(_VALUE_BYTES, b"\0")


def _update(name: str, descriptor: int, key: bytes, value: bytes) -> None:
    buffers = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    number = element(kernel_call, Command.UPDATE, descriptor, *map(ctypes.addressof, buffers))
    if number:
        raise LoadRefused(LoadProblem(Failure.ATTACH, _why_not_filled(name, number)))


def _why_not_filled(name: str, number: int) -> str:
    return f'map "{name}": cannot be filled ({os.strerror(number)}); {_REPAIRS.get(number, _REPAIR)}'
