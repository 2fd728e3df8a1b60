# SPDX-License-Identifier: Apache-2.0
"""Turning a probe off on the running kernel, while those that share its programs continue."""

import os
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.bpf_stats import run_statistics
from ebpf_sidecar.receivers.ebpf.loader.filling import packed
from ebpf_sidecar.receivers.ebpf.loading.build_request import calls_for
from ebpf_sidecar.receivers.ebpf.maps.kernel_map import KernelMap
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe
from ebpf_sidecar.receivers.ebpf.watch.overhead import Overhead
from ebpf_sidecar.receivers.ebpf.watch.shedding import Shedding

BPF = Path(__file__).parents[2] / "bpf"
PAGES = 256

pytestmark = pytest.mark.parallel


@pytest.fixture
def three(attach):
    """All three probes, loaded."""
    return attach("page_cache", "syscalls", "block_io")


@pytest.fixture
def shed_one(three):
    """Let the overhead be far too high until the named probe is off; what is left."""

    def shed_one(name, loaded=three, before=()):
        probes = [read_probe(BPF / f"{each}.yaml") for each in ("page_cache", "syscalls", "block_io")]
        warnings = []
        overhead = Overhead(1e-12, (name,), 1)
        shedding = Shedding(overhead, probes, lambda left: calls_for(left, {}), warnings.append, list(before))
        with run_statistics() as counting:
            assert counting
            readings, descriptor = [], os.memfd_create("read")
            for second in range(4):
                readings.append(shedding.when_due(float(second), loaded))
                for _ in range(100):
                    os.pread(descriptor, 1, 0)
        os.close(descriptor)
        assert [None, None, None] == readings[:3]
        assert 1 == len(warnings)
        return readings[3]

    return shed_one


@pytest.mark.parametrize("name", ["page_cache", "syscalls", "block_io"])
def test_the_probe_is_off_and_the_others_are_exact(shed_one, run, file_of, lacking, name):
    """Programs at entry and return of calls serve two probes: they stay and do less."""
    left = shed_one(name)
    pid = run("files.py", "sequential", file_of(PAGES * 4096), 1, 4096)["pid"]

    assert {name} == {hook.probe for hook in left.hooks if not hook.attached and hook.hook not in lacking}
    assert {"max_overhead"} == {hook.reason for hook in left.hooks if hook.probe == name}
    for probe, kernel_map, column in (
        ("page_cache", "cache_stats_map", "lookups"),
        ("syscalls", "syscall_stats", "bytes"),
    ):
        if probe == name:
            assert kernel_map not in left.maps
        else:
            assert PAGES * (1 if column == "lookups" else 4096) <= counted(left.maps[kernel_map], column, pid)


def counted(kernel_map, column, pid):
    """The sum of a column over a process's rows."""
    keys, values = kernel_map.read()
    return int(values[keys["tgid"] == pid][:, kernel_map.value_fields[column]].sum())


def test_calls_that_only_the_probe_followed_are_followed_no_more(shed_one, three):
    """The page cache has no use for fsync; pread it follows, but does not time."""
    left = shed_one("syscalls")
    rows = {int(key["key"]): int(value[0]) for key, value in zip(*left.calls.read(), strict=True)}
    numbers = calls_for([read_probe(BPF / "page_cache.yaml")], {})

    followed = {number: value.to_bytes(8, sys.byteorder) for number, value in rows.items() if value}
    assert {number: packed(fields) for number, fields in numbers.items()} == followed


def test_what_is_off_is_taken_out_of_the_kernel(shed_one, three):
    """Programs and maps: their memory comes back; closing everything later is no error."""
    before = {name: kernel_map.memory() for name, kernel_map in three.maps.items()}
    left = shed_one("block_io")
    behind = three.maps["block_stats"].fd

    assert "bpf-map" not in str(Path(f"/proc/self/fd/{behind}").readlink())
    assert before.keys() - left.maps.keys() == {"block_stats", "block_errors", "requests"}
    assert not [program for program in left.programs if program.name.startswith(("issue", "complete", "insert"))]
    assert isinstance(left.maps["threads"], KernelMap)
    left.close()


def test_shared_programs_go_with_the_last_probe_that_needs_them(shed_one):
    """Nothing follows system calls then."""
    left = shed_one("page_cache", loaded=shed_one("syscalls"), before=["syscalls"])

    assert {"block_io"} == {hook.probe for hook in left.hooks if hook.attached}
    assert not [program for program in left.programs if program.name.startswith("call_")]
    assert "threads" not in left.maps
