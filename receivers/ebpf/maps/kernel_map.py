# SPDX-License-Identifier: Apache-2.0
"""Kernel maps as arrays. Thousands of entries are read by one system call."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import BpfCall, Command, element, kernel_call

from .layout import Keys, Values
from .near import Near, added_up

_BATCH = struct.Struct("<QQQQIIQQ")
_COUNT_OFFSET = 32
_FIRST_CAPACITY = 256


@dataclass
class _Buffers:
    """Buffers for the kernel's output, kept between readings and only ever enlarged."""

    keys: NDArray[np.uint8]
    values: Values

    def grow(self, used: int, capacity: int) -> None:
        """Make room for ``capacity`` entries, keeping the first ``used``."""
        keys, values = self.keys, self.values
        self.keys = np.zeros((capacity, keys.shape[1]), np.uint8)
        self.values = np.zeros((capacity, values.shape[1]), np.uint64)
        self.keys[:used], self.values[:used] = keys[:used], values[:used]


@dataclass(frozen=True)
class KernelMap:
    """A kernel hash map (or array) by its descriptor.

    ``name``: as published. ``key_dtype``: structured, the owner's fields first. ``value_fields``: columns of u64.
    ``near``: its near map (see near.py), whose entries are read, counted and deleted with the others. Kernel errors are
    raised as `ProbeError`.
    """

    name: str
    fd: int
    key_dtype: np.dtype[np.void]
    value_fields: Mapping[str, slice]
    max_entries: int
    call: BpfCall = field(default=kernel_call, repr=False)
    near: Near | None = field(default=None, repr=False)
    _buffers: _Buffers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        capacity = min(_FIRST_CAPACITY, self.max_entries)
        keys, values = (
            np.zeros((capacity, self.key_dtype.itemsize), np.uint8),
            np.zeros((capacity, self.columns), np.uint64),
        )
        object.__setattr__(self, "_buffers", _Buffers(keys, values))

    @property
    def columns(self) -> int:
        """The number of u64 columns of a value."""
        return max((columns.stop for columns in self.value_fields.values()), default=0)

    def read(self) -> tuple[Keys, Values]:
        """All entries, each key once: keys of shape (n,), values of shape (n, columns), in the same order."""
        far = self._read_far()
        return far if self.near is None else added_up(self.near.read(), far)

    def take(self) -> tuple[Keys, Values]:
        """Read and remove all entries of a map without ``near`` in one step: what programs add between two calls would
        be lost.

        What a program adds in the nanoseconds after looking up an entry is still lost; counters therefore use
        generations.
        """
        return self._read_far(Command.LOOKUP_AND_DELETE_BATCH)

    def _read_far(self, command: Command = Command.LOOKUP_BATCH) -> tuple[Keys, Values]:
        count = self._read_batches(command)
        keys = self._buffers.keys[:count].copy().reshape(-1).view(self.key_dtype)
        return keys, self._buffers.values[:count].copy()

    def entries(self) -> int:
        """The current number of entries. The kernel does not report it, so they are read."""
        return len(self.read()[0])

    def delete(self, keys: Keys) -> None:
        """Remove the entries; missing keys are not an error."""
        if self.near is not None:
            self.near.release(keys)
        raw = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), keys.dtype.itemsize)
        done = 0
        while done < len(raw):
            count, number = self._batch(Command.DELETE_BATCH, (0, 0), (raw[done:].ctypes.data, 0), len(raw) - done)
            self._check(number, (0, errno.ENOENT), "delete from")
            # the kernel stops at a missing key: continue after it
            done += count if number == 0 else count + 1

    def add(self, keys: Keys, value_of_all: int = 0) -> None:
        """Add or change entries, all with the same value."""
        value = np.full(self.columns, value_of_all, np.uint64)
        for key in np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), keys.dtype.itemsize):
            number = element(self.call, Command.UPDATE, self.fd, key.ctypes.data, value.ctypes.data)
            self._check(number, (0,), "add to")

    def write(self, key: int, value: int) -> None:
        """Set one entry of an array map."""
        key_bytes, value_array = np.array([key], np.uint32), np.array([value], np.uint64)
        number = element(self.call, Command.UPDATE, self.fd, key_bytes.ctypes.data, value_array.ctypes.data)
        self._check(number, (0,), "write to")

    def memory(self) -> int:
        """Bytes of kernel memory that the map takes now (before 6.4: an upper bound)."""
        return _memory(self.fd) + (0 if self.near is None else _memory(self.near.fd))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that keep it in the kernel."""
        return (self.fd,) if self.near is None else (self.fd, self.near.fd)

    def unmap(self) -> None:
        """Unmap its memory here; what `descriptors` refer to can then be freed."""
        if self.near is not None:
            self.near.close()

    def _read_batches(self, command: Command) -> int:
        """The number of entries read into the buffers."""
        buffers, used, before = self._buffers, 0, 0
        place = np.zeros(max(8, self.key_dtype.itemsize), np.uint8)  # where the kernel writes its position
        while True:
            if used == len(buffers.keys):
                buffers.grow(used, 2 * used)
            into = buffers.keys[used:].ctypes.data, buffers.values[used:].ctypes.data
            count, number = self._batch(command, (before, place.ctypes.data), into, len(buffers.keys) - used)
            if number == errno.ENOSPC:  # a bucket holds more entries than the buffer
                buffers.grow(used, 2 * len(buffers.keys))
                continue
            self._check(number, (0, errno.ENOENT), "read")
            used, before = used + count, place.ctypes.data
            if number == errno.ENOENT:  # the end; the count is valid
                return used

    def _batch(self, command: Command, places: tuple[int, int], at: tuple[int, int], count: int) -> tuple[int, int]:
        """How many entries the kernel processed, and its errno. All four are addresses, 0 for none.

        ``places``: the positions to start at and to write back. ``at``: of ``count`` keys, and of their values.
        """
        attributes = bytearray(_BATCH.pack(*places, *at, count, self.fd, 0, 0))
        number = self.call(command, attributes)
        return struct.unpack_from("<I", attributes, _COUNT_OFFSET)[0], number

    def _check(self, number: int, good: tuple[int, ...], doing: str) -> None:
        if number not in good:
            raise ProbeError(f'map "{self.name}": cannot {doing} it: {os.strerror(number)}{_hint(number)}')


def _memory(fd: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii").splitlines():
        if line.startswith("memlock:"):
            return int(line.split()[1])
    return 0


def _hint(number: int) -> str:
    if number == errno.EPERM:
        return "; before kernel 6.1 the reader needs CAP_BPF, or kernel.unprivileged_bpf_disabled=0"
    return ""
