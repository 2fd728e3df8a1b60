# SPDX-License-Identifier: Apache-2.0
"""Which bounds of a histogram a probe's YAML advises, out of those that its C counts."""

from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import Slots

BPF = Path(__file__).parents[4] / "bpf"
LONGEST = 17.179869184
SLOTS = {
    "ebpf.syscall.duration": "SYSCALL_SLOTS",
    "ebpf.block.io.duration": "BLOCK_SLOTS",
    "ebpf.block.io.queue.duration": "BLOCK_SLOTS",
    "ebpf.block.io.size": "SIZE_SLOTS",
    "ebpf.block.io.wait.duration": "WAIT_SLOTS",
    "ebpf.block.io.throttle.duration": "WAIT_SLOTS",
    "ebpf.memory.direct_reclaim.duration": "RECLAIM_SLOTS",
}


def shipped():
    """Every histogram of our own probes, by name: how its slots are read, and how many there are."""
    for path in find_probes([BPF]).values():
        probe = read_probe(path)
        for metric in probe.metrics:
            if isinstance(metric.value, Slots):
                yield metric.name, (metric.value, probe.macros[SLOTS[metric.name]])


@pytest.mark.parametrize(
    ("metric", "first", "last"),
    [
        ("ebpf.syscall.duration", 1.024e-6, LONGEST),
        ("ebpf.memory.direct_reclaim.duration", 1.024e-6, LONGEST),
        ("ebpf.block.io.duration", 16.384e-6, LONGEST),
        ("ebpf.block.io.queue.duration", 16.384e-6, LONGEST),
        ("ebpf.block.io.size", 512, 16 * 2**20),
        ("ebpf.block.io.wait.duration", 16.384e-6, LONGEST),
        ("ebpf.block.io.throttle.duration", 16.384e-6, LONGEST),
    ],
)
def test_a_histogram_shows_about_ten_bounds_by_default(metric, first, last):
    """Calls start at a microsecond, disks where the fastest ones are; nothing waits longer for either."""
    value, _ = dict(shipped())[metric]
    bounds = [value.scale * 2**exponent for exponent in value.default_exponents]

    assert pytest.approx([first, last]) == [bounds[0], bounds[-1]]
    assert 9 <= len(bounds) <= 11


def test_every_default_bound_is_counted():
    """The last slot has no bound."""
    ends = {name: value.lowest_exponent + slots - 2 for name, (value, slots) in shipped()}

    assert SLOTS.keys() == ends.keys()
    assert all(value.default_exponents[-1] <= ends[name] for name, (value, _) in shipped())
