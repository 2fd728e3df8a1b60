# SPDX-License-Identifier: Apache-2.0
"""What measuring costs processes that `targets` excludes, and what run statistics add.

    python bench/targets.py [cached reads in a loop, default 30000]

Needs root. For each choice of targets, page_cache and syscalls are loaded and this process reads 512 bytes of a cached
page again and again. "added" is what a read takes longer than without probes, in the least disturbed of many loops. The
programs at entry, return and lookup are nanoseconds of a run as the kernel counts them, of which about 30 are the
counting's own. "counted" is what a read takes longer still while runs are counted (`probe_statistics`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring.printing import table

from ebpf_sidecar.receivers.ebpf.kernel.bpf_stats import run_statistics
from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

BPF, PROC = Path(__file__).parents[1] / "bpf", Path("/proc")
PROBES = ("page_cache", "syscalls")
PROGRAMS = ("call_enters", "call_returns", "lookup_raw")
REPETITIONS = 25
HEADER = ["this process is", "added ns", *(f"{name} ns" for name in PROGRAMS), "counted ns"]


def choices() -> dict[str, TargetSettings]:
    """What is reported about this process, by what the table calls it."""
    own = (PROC / "self/comm").read_text(encoding="utf-8").strip()
    return {
        "measured, no targets": TargetSettings(),
        "measured, chosen by name": TargetSettings(executables=(own,)),
        "left out by name": TargetSettings(executables=("nobody",)),
        "left out by cgroup": TargetSettings(cgroups=("/nobody",)),
        "left out by pid namespace": TargetSettings(pid_namespaces=(1,)),
    }


def measure(settings: TargetSettings, loop: Callable[[], float]) -> list[float]:
    """A row of the table after its name. ``loop``: nanoseconds of one read."""
    probes = [read_probe(BPF / f"{name}.yaml") for name in PROBES]
    without = best(loop)
    with load(probes, request_for(probes, targets=kernel_targets(settings, PROC))) as loaded:
        added = best(loop)
        with run_statistics():
            before, counted, after = runs(loaded), best(loop), runs(loaded)
    each = [(after[p][1] - before[p][1]) / max(1, after[p][0] - before[p][0]) for p in PROGRAMS]
    return [added - without, *each, counted - added]


def runs(loaded: LoadedProbes) -> dict[str, tuple[int, int]]:
    """Runs and nanoseconds of each program."""
    return {program.name: program.runs() for program in loaded.programs}


def best(loop: Callable[[], float]) -> float:
    """The least disturbed of several."""
    return min(loop() for _ in range(REPETITIONS))


def reads(descriptor: int, count: int) -> float:
    """Nanoseconds of one cached read."""
    started = time.perf_counter_ns()
    for _ in range(count):
        os.pread(descriptor, 512, 0)
    return (time.perf_counter_ns() - started) / count


def main(count: int) -> None:
    """Print the table."""
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 4096)
        file.flush()
        rows = [[name, *measure(each, lambda: reads(file.fileno(), count))] for name, each in choices().items()]
    print(table(HEADER, rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30_000)
