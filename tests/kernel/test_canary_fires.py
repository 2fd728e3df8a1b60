# SPDX-License-Identifier: Apache-2.0
"""The canary on the running kernel: real hooks fire, and one that cannot is detected."""

import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.bpf_stats import run_statistics
from ebpf_sidecar.receivers.ebpf.kernel.disk_folder import find_disk_folder, mounts_of
from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.watch.canary import Canary, examine
from ebpf_sidecar.receivers.ebpf.watch.canary_actions import Actions

BPF = Path(__file__).parents[2] / "bpf"
SILENT = read_probe(Path(__file__).parent / "probes" / "silent.yaml")
NO_STATISTICS = lambda: nullcontext(False)  # noqa: E731 # as where CAP_SYS_ADMIN is missing

pytestmark = pytest.mark.skipif(find_disk_folder(mounts_of(Path("/proc"))) is None, reason="no folder on a disk")


@pytest.mark.parametrize("statistics", [run_statistics, NO_STATISTICS], ids=["runs", "maps"])
def test_a_hook_that_is_attached_and_never_fires_is_found_out(statistics):
    """By the kernel's count of runs, and by the map that does not grow."""
    warnings = []
    with load([SILENT], request_for([SILENT])) as loaded:
        canary = Canary([SILENT], loaded, 0, warnings.append, Actions().do, statistics)
        canary.when_due(time.monotonic())

    assert all(hook.attached for hook in loaded.hooks)
    assert {"calls": True, "kills": False} == {hook: each.live for (_, hook), each in canary.found.items()}
    assert ["hook silent::kills is attached but does not fire"] == [line.partition(": ")[0] for line in warnings]


@pytest.fixture(scope="module")
def all_probes():
    """All that the product brings."""
    probes = [read_probe(path) for path in find_probes([BPF]).values()]
    with load(probes, request_for(probes)) as loaded:
        yield probes, loaded


def test_every_hook_of_ours_that_can_be_triggered_fires(all_probes):
    """None is attached for nothing."""
    found = examine(*all_probes, Actions().do)

    assert [] == [name for name, each in found.items() if each.live is False]
    assert 10 < sum(each.live is True for each in found.values())


def test_without_run_counts_maps_are_the_evidence_for_most_hooks(all_probes):
    """Hooks without evidence are unknown, not dead."""
    found = examine(*all_probes, Actions().do, NO_STATISTICS)

    assert [] == [name for name, each in found.items() if each.live is False]
    assert {("page_cache", "page_add"), ("page_cache", "page_remove"), ("block_io", "complete")} <= {
        name for name, each in found.items() if each.live
    }
    assert found["syscalls", "signal"].live is None


def test_runs_are_counted_only_while_requested(all_probes):
    """Counting costs every program on the machine some nanoseconds."""
    if Path("/proc/sys/kernel/bpf_stats_enabled").read_text().strip() == "1":
        pytest.skip("the administrator has switched counting on")
    _, loaded = all_probes
    examine(*all_probes, Actions().do)
    before = {program.name: program.runs() for program in loaded.programs}
    Actions().do({"lookup", "process"})

    assert before == {program.name: program.runs() for program in loaded.programs}


def test_the_canary_costs_next_to_nothing(all_probes):
    """Milliseconds of processor time each ten minutes, and a handful of calls under the service's own name."""
    examine(*all_probes, Actions().do)
    used = time.process_time()
    for _ in range(10):
        examine(*all_probes, Actions().do)

    assert 0.05 > (time.process_time() - used) / 10
