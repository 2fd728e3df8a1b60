# SPDX-License-Identifier: Apache-2.0
"""The budget for kernel maps, from the kernel's side: sizes as declared, and every map filled to the last entry."""

import errno
import sys
from pathlib import Path

import numpy as np
import pytest

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import Command, element, info, kernel_call, map_sizes
from ebpf_sidecar.receivers.ebpf.loading.map_sizing import BUDGET, SizingMachine
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe

BPF = Path(__file__).parents[2] / "bpf"
PROBES = sorted(find_probes([BPF]))
MIB = 1 << 20
ATTEMPTS = 10

pytestmark = pytest.mark.parallel  # whatever others put into the maps makes them as full


def fill(kernel_map):
    """Add entries until the kernel accepts no more."""
    key_size, value_size, entries = map_sizes(kernel_map.fd)
    key, value = np.zeros(max(key_size, 8), np.uint8), np.zeros(value_size, np.uint8)
    for number in range(entries + 1):
        key[:4] = np.array([0xFE000000 | number], np.uint32).view(np.uint8)
        answer = element(kernel_call, Command.UPDATE, kernel_map.fd, key.ctypes.data, value.ctypes.data)
        if answer == errno.E2BIG:
            return
        assert 0 == answer


def gives_up_the_oldest(kernel_map):
    """Whether it is one of BPF_MAP_TYPE_LRU_HASH, which is never full."""
    return info(kernel_map.fd, 4) == (9).to_bytes(4, sys.byteorder)


@pytest.mark.parametrize(
    ("budget", "preallocated"),
    [
        (2 * MIB, True),
        (BUDGET, False),
        pytest.param(2 * MIB, False, marks=pytest.mark.full_length),
        pytest.param(BUDGET, True, marks=pytest.mark.full_length),
    ],
)
def test_all_maps_filled_for_real_stay_below_the_budget(attach, budget, preallocated):
    """The kernel's own account in fdinfo, after the last entry went in."""
    loaded = attach(*PROBES, budget=budget, machine=SizingMachine(2, not preallocated))

    for _ in range(ATTEMPTS):
        for kernel_map in loaded.maps.values():
            fill(kernel_map)
        used = {name: kernel_map.memory() for name, kernel_map in loaded.maps.items()}
        full = {name: m.entries() / m.max_entries for name, m in loaded.maps.items() if not gives_up_the_oldest(m)}
        if min(full.values()) > 0.98:
            break  # otherwise threads ended meanwhile, and freed theirs

    assert {} == {name: share for name, share in full.items() if share < 0.98}
    assert budget / 3 < sum(used.values()) <= budget


def test_keys_and_values_are_not_larger_than_the_probes_declare(attach):
    """With all probes, when the state of a thread is largest; otherwise the budget would be shared out wrongly."""
    loaded = attach(*PROBES)
    specs = {spec.published: spec for path in find_probes([BPF]).values() for spec in read_probe(path).maps}

    real = {name: map_sizes(kernel_map.fd)[:2] for name, kernel_map in loaded.maps.items()}
    assert {} == {n: s for n, s in real.items() if s[0] > specs[n].key or s[1] > specs[n].value}
