# SPDX-License-Identifier: Apache-2.0
"""Turning probes off where something goes wrong; see tests/kernel/test_maps_shedding.py for real ones."""

import errno
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel import fd_passing
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe
from ebpf_sidecar.receivers.ebpf.watch.overhead import Overhead
from ebpf_sidecar.receivers.ebpf.watch.shedding import Shedding

BLOCK = replace(read_probe(Path(__file__).parents[4] / "bpf" / "block_io.yaml"), maps=())


@dataclass(frozen=True)
class Costly:
    """A program that takes all the time there is."""

    name: str
    descriptors: tuple[int, ...]

    def runs(self):
        return 1, next(CLOCK)


@dataclass(frozen=True)
class Played:
    """What is in the kernel."""

    programs: tuple
    hooks: tuple = (HookStatus("block_io", "issue", "issue_raw", ""),)
    maps: dict = field(default_factory=dict)
    calls: object = None


def behind(descriptor):
    """What a descriptor refers to."""
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def refuse(*_):
    """No descriptor is left."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


CLOCK = iter(range(0, 1 << 62, 10**12))


def test_a_probe_that_could_not_be_turned_off_is_not_reported_as_off(monkeypatch):
    """It is tried again, and nothing was closed before."""
    pipe = os.pipe()
    loaded = Played((Costly("issue_raw", pipe),))
    warnings = []
    shedding = Shedding(Overhead(0.1, ("block_io",), 1), [BLOCK], lambda _: {}, warnings.append)
    now = iter(range(100))
    assert [None] * 3 == [shedding.when_due(next(now), loaded) for _ in range(3)]

    with monkeypatch.context() as without_room:
        without_room.setattr(fd_passing.os, "open", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            shedding.when_due(next(now), loaded)
    assert ([], []) == (shedding.shed, warnings)
    assert all("pipe:" in behind(end) for end in pipe)

    left = [shedding.when_due(next(now), loaded) for _ in range(3)][-1]
    assert ((), ["block_io"], 1) == (left.programs, shedding.shed, len(warnings))
    assert all("/dev/null" == behind(end) for end in pipe)
    for end in pipe:
        os.close(end)


@pytest.mark.parametrize(("limit", "reported"), [(0.05, "max_overhead (5%)"), (0.000001, "max_overhead (0.0001%)")])
def test_a_limit_is_named_as_it_was_written_however_small(limit, reported):
    """Not as 0.00 %."""
    pipe = os.pipe()
    warnings = []
    shedding = Shedding(Overhead(limit, ("block_io",), 1), [BLOCK], lambda _: {}, warnings.append)
    for now in range(4):
        shedding.when_due(now, Played((Costly("issue_raw", pipe),)))
    for end in pipe:
        os.close(end)

    assert [reported in each for each in warnings] == [True]
