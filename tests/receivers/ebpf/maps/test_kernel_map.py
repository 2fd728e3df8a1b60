# SPDX-License-Identifier: Apache-2.0
"""Maps as arrays, against a kernel that is a dictionary."""

import ctypes
import errno
import struct

import numpy as np
import pytest

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import Command
from ebpf_sidecar.receivers.ebpf.maps.generation import Generation
from ebpf_sidecar.receivers.ebpf.maps.kernel_map import KernelMap

KEY = np.dtype([("cgroup", "u8"), ("comm", "S8")])
BATCH = struct.Struct("<QQQQIIQQ")


class FakeKernel:
    """Holds one map; ``bucket`` entries come out per lookup at least, as in a hash with long chains."""

    def __init__(self, entries, *, bucket=3, refuse=0):
        self.entries = {np.array([key], KEY).tobytes(): np.array(value, np.uint64).tobytes() for key, value in entries}
        self.bucket, self.refuse = bucket, refuse
        self.calls = []

    def __call__(self, command, attributes):
        self.calls.append(command)
        if self.refuse:
            return self.refuse
        return {
            Command.LOOKUP_BATCH: self.lookup_batch,
            Command.LOOKUP_AND_DELETE_BATCH: self.take_batch,
            Command.DELETE_BATCH: self.delete_batch,
        }[command](attributes)

    def lookup_batch(self, attributes):
        before, after, keys, values, room, *_ = BATCH.unpack_from(attributes)
        start = ctypes.c_uint64.from_address(before).value if before else 0
        if room < min(self.bucket, len(self.entries) - start):
            struct.pack_into("<I", attributes, 32, 0)
            return errno.ENOSPC
        chosen = list(self.entries.items())[start : start + room]
        for i, (key, value) in enumerate(chosen):
            ctypes.memmove(keys + i * len(key), key, len(key))
            ctypes.memmove(values + i * len(value), value, len(value))
        struct.pack_into("<I", attributes, 32, len(chosen))
        ctypes.c_uint64.from_address(after).value = start + len(chosen)
        return errno.ENOENT if start + len(chosen) == len(self.entries) else 0

    def take_batch(self, attributes):
        _, *rest = BATCH.unpack_from(attributes)
        BATCH.pack_into(attributes, 0, 0, *rest)  # what was taken is not there any more
        number = self.lookup_batch(attributes)
        for key in list(self.entries)[: struct.unpack_from("<I", attributes, 32)[0]]:
            del self.entries[key]
        return number

    def delete_batch(self, attributes):
        _, _, keys, _, count, *_ = BATCH.unpack_from(attributes)
        for i in range(count):
            if self.entries.pop(ctypes.string_at(keys + i * KEY.itemsize, KEY.itemsize), None) is None:
                struct.pack_into("<I", attributes, 32, i)
                return errno.ENOENT
        struct.pack_into("<I", attributes, 32, count)
        return 0


def entries(count):
    """Keys and values that show their position."""
    return [((i, b"p%d" % i), [i, 2 * i]) for i in range(count)]


def kernel_map(kernel, max_entries=4096):
    """The map of ``kernel`` as a reader has it."""
    return KernelMap("test_map", 3, KEY, {"calls": slice(0, 1), "bytes": slice(1, 2)}, max_entries, kernel)


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 3000])
def test_reading_gives_every_entry_once(count):
    """Whatever the number."""
    keys, values = kernel_map(FakeKernel(entries(count))).read()

    assert list(range(count)) == keys["cgroup"].tolist()
    assert [[i, 2 * i] for i in range(count)] == values.tolist()
    assert [b"p%d" % i for i in range(count)] == keys["comm"].tolist()


@pytest.mark.parametrize("count", [0, 1, 256, 257, 3000])
def test_taking_gives_every_entry_once_and_none_again(count):
    """One call reads and removes: nothing can change in between."""
    kernel = FakeKernel(entries(count))
    keys, values = kernel_map(kernel).take()

    assert list(range(count)) == sorted(keys["cgroup"].tolist())
    assert [[i, 2 * i] for i in range(count)] == sorted(values.tolist())
    assert {Command.LOOKUP_AND_DELETE_BATCH} == set(kernel.calls)
    assert 0 == len(kernel_map(kernel).take()[0])


def test_a_bucket_larger_than_the_room_enlarges_it():
    """ENOSPC is answered with more room, not with an error."""
    keys, _ = kernel_map(FakeKernel(entries(1000), bucket=700)).read()

    assert 1000 == len(keys)


def test_readings_do_not_share_memory():
    """What was given out stays as it was at the next reading."""
    kernel = FakeKernel(entries(2))
    reader = kernel_map(kernel)
    _, first = reader.read()
    kernel.entries = dict.fromkeys(kernel.entries, np.array([9, 9], np.uint64).tobytes())

    _, second = reader.read()

    assert [[0, 0], [1, 2]] == first.tolist()
    assert [[9, 9], [9, 9]] == second.tolist()


def test_deleting_passes_over_keys_that_are_gone():
    """Whatever was there is removed."""
    kernel = FakeKernel(entries(10))
    reader = kernel_map(kernel)
    keys, _ = reader.read()
    for gone in list(kernel.entries)[2:5]:
        del kernel.entries[gone]

    reader.delete(keys[:8])

    assert [8, 9] == reader.read()[0]["cgroup"].tolist()


def test_deleting_nothing_makes_no_call():
    """An empty selection is no mistake."""
    kernel = FakeKernel([])

    kernel_map(kernel).delete(np.zeros(0, KEY))

    assert [] == kernel.calls


def test_a_refusal_names_the_map_and_what_to_do():
    """As on kernels before 6.1, where reading needs CAP_BPF."""
    with pytest.raises(ProbeError, match=r'map "test_map": cannot read it: .* the reader needs CAP_BPF'):
        kernel_map(FakeKernel([], refuse=errno.EPERM)).read()


def test_a_flip_gives_the_generation_that_retires(monkeypatch):
    """Two generations take turns."""
    written = []
    control = kernel_map(FakeKernel([]))
    monkeypatch.setattr(KernelMap, "write", lambda _self, key, value: written.append((key, value)))
    generation = Generation(control, wait=lambda: True)

    assert [0, 1, 0] == [generation.flip() for _ in range(3)]
    assert [(0, 1), (0, 0), (0, 1)] == written
    assert generation.settled()
