# SPDX-License-Identifier: Apache-2.0
"""What the probes cost inside the kernel, by program and by what the machine does, and how much it slows a program.

    python bench/probe_cost.py [scale of the loops, default 1.0]

Needs root, a C compiler, and fio for the direct reads. The probes are those of the packaged configuration, loaded
without the service. First table: nanoseconds of one run of a program as kernel.bpf_stats_enabled counts them (about 30
ns of each are the counting's own), runs per operation, and their product. The counts are machine-wide: what starts the
loop is in them, and of other programs what they did in the least disturbed of several repetitions. Second table: a
loop's time without and with the probes, in turn, with the counting off; "added" and "ratio" are medians over the pairs.
For comparison, the sums for one cached read that were measured for the design: 201 ns in three programs of a prototype,
319 ns in a predecessor that counted less.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar import say, table

from ebpf_sidecar.receivers.ebpf.cgroups import find_hierarchy
from ebpf_sidecar.receivers.ebpf.loaded import Loaded
from ebpf_sidecar.receivers.ebpf.loading import load
from ebpf_sidecar.receivers.ebpf.preparing import request_for
from ebpf_sidecar.receivers.ebpf.probe_file import read_probe

BPF = Path(__file__).parents[1] / "bpf"
PROBES = ("page_cache", "block_io", "syscalls")
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
FILE_BYTES = 64 << 20
PAIRS = 7
REPETITIONS = 5
LEAST_RUNS = 0.005  # per operation; below is what other programs did meanwhile
REFERENCE = [["prototype (64 + 86 + 51)", 201], ["predecessor (115 + 139 + 66)", 319]]


@dataclass(frozen=True)
class Workload:
    """A loop: ``kind`` as loops.c (or ``fio``) knows it, ``operations`` at scale 1; ``cold``: from disk each time."""

    name: str
    kind: str
    operations: int
    cold: bool = False


WORKLOADS = (
    Workload("cached pread, 512 B of one page", "same", 300_000),
    Workload("cached pread, 4 KiB in order", "pages", 200_000),
    Workload("call that nobody asked for", "calls", 600_000),
    Workload("direct read, 4 KiB at random", "fio", 20_000),
    Workload("page fault, mapped file in cache", "faults", 16_384),
    Workload("page fault, mapped file on disk", "faults", 4_096, cold=True),
    Workload("cold read in order, 4 KiB", "pages", 16_384, cold=True),
    Workload("cold read in order, 64 KiB", "blocks", 1_024, cold=True),
)


@contextmanager
def stats(state: str) -> Iterator[None]:
    """The kernel counts runs of programs (``1``) or not (``0``) within the block; as it was before afterwards."""
    before = STATS.read_text()
    STATS.write_text(state)
    try:
        yield
    finally:
        STATS.write_text(before)


@dataclass(frozen=True)
class Machine:
    """Where loops run: the compiled program and a file."""

    loops: Path
    file: Path

    def run(self, workload: Workload, scale: float) -> tuple[int, int]:
        """Operations done and nanoseconds taken."""
        operations = max(64, int(workload.operations * scale))
        forget(self.file) if workload.cold else self.file.read_bytes()
        if workload.kind == "fio":
            return operations, fio(self.file, operations)
        command = [self.loops, workload.kind, self.file, str(operations)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        return operations, int(done.stdout.split()[1])


@contextmanager
def machine() -> Iterator[Machine]:
    """Compile the loops and write the file, both for the length of the block."""
    compiler = shutil.which("cc")
    if not compiler:
        raise SystemExit("no C compiler found; install gcc")
    with tempfile.TemporaryDirectory() as folder:
        made = Machine(Path(folder, "loops"), Path(folder, "data"))
        subprocess.run([compiler, "-O2", "-o", made.loops, Path(__file__).with_name("loops.c")], check=True)
        made.file.write_bytes(os.urandom(FILE_BYTES))
        forget(made.file)
        yield made


def forget(file: Path) -> None:
    """Write a file to disk and drop it from the page cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def fio(file: Path, operations: int) -> int:
    """Nanoseconds for direct reads at random places."""
    options = {"name": "x", "filename": file, "rw": "randread", "norandommap": 1, "bs": 4096, "direct": 1,
               "ioengine": "psync", "io_size": 4096 * operations, "size": FILE_BYTES,
               "output-format": "terse"}  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(["fio", *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return int(done.stdout.split(";")[8]) * 1_000_000  # terse version 3: runtime of reads in ms


def probes(names: tuple[str, ...] = PROBES) -> Loaded:
    """The probes at work."""
    found = [read_probe(BPF / f"{name}.yaml") for name in names]
    hierarchy = find_hierarchy(Path("/sys/fs/cgroup")).controller
    return load(found, request_for(found, cgroup_hierarchy=hierarchy))


@dataclass(frozen=True)
class Cost:
    """A program during a workload: nanoseconds a run, and runs an operation."""

    program: str
    ns: float
    runs: float


def costs(loaded: Loaded, place: Machine, workload: Workload, scale: float) -> list[Cost]:
    """Each program's cost in the repetition that other programs disturbed least."""
    repetitions = [repetition(loaded, place, workload, scale) for _ in range(REPETITIONS)]
    least = min(repetitions, key=lambda found: sum(cost.runs for cost in found))
    return [cost for cost in least if cost.runs >= LEAST_RUNS]


def repetition(loaded: Loaded, place: Machine, workload: Workload, scale: float) -> list[Cost]:
    """What the programs did during one run of the workload."""
    before = {program.name: program.runs() for program in loaded.programs}
    operations, _ = place.run(workload, scale)
    found = []
    for program in loaded.programs:
        runs, ns = (now - then for now, then in zip(program.runs(), before[program.name], strict=True))
        found.append(Cost(program.name, ns / runs if runs else 0.0, runs / operations))
    return found


def cost_table(loaded: Loaded, place: Machine, scale: float) -> str:
    """All workloads and programs."""
    rows: list[list[object]] = []
    for workload in WORKLOADS:
        if workload.kind == "fio" and not shutil.which("fio"):
            rows.append([workload.name, "fio is not installed", "", "", ""])
            continue
        say(f"  {workload.name}")
        found = costs(loaded, place, workload, scale)
        rows += [["", c.program, f"{c.ns:.0f}", f"{c.runs:.3f}", f"{c.ns * c.runs:.0f}"] for c in found]
        rows.insert(len(rows) - len(found), [workload.name, "all", "", "", f"{sum(c.ns * c.runs for c in found):.0f}"])
    rows += [["for comparison: cached read", name, "", "", ns] for name, ns in REFERENCE]
    return table(["workload", "program", "ns/run", "runs/op", "ns/op"], rows, left=2)


@dataclass(frozen=True)
class Slowdown:
    """Nanoseconds an operation without and with the probes; the medians of the pairs' differences and ratios."""

    without: float
    under: float
    added: float
    ratio: float


def slowdown(place: Machine, workload: Workload, names: tuple[str, ...], scale: float, pairs: int) -> Slowdown:
    """A loop without and with probes, in turn."""
    found = []
    for _ in range(pairs):
        without = _per_operation(place, workload, scale)
        with probes(names):
            found.append((without, _per_operation(place, workload, scale)))
    without, under = (statistics.median(column) for column in zip(*found, strict=True))
    added = statistics.median(b - a for a, b in found)
    return Slowdown(without, under, added, statistics.median(b / a for a, b in found))


def _per_operation(place: Machine, workload: Workload, scale: float) -> float:
    """The best of three: what disturbs only adds."""
    return min(ns / operations for operations, ns in (place.run(workload, scale) for _ in range(3)))


def slowdown_table(place: Machine, scale: float, pairs: int) -> str:
    """The loops that spend all their time in calls, under all probes and under one."""
    rows: list[list[object]] = []
    for workload in (WORKLOADS[0], WORKLOADS[1], WORKLOADS[2]):
        for names in (PROBES, *((name,) for name in PROBES)):
            say(f"  {workload.name}, {', '.join(names)}")
            found = slowdown(place, workload, names, scale, pairs)
            which = "all" if names == PROBES else names[0]
            added = found.under - found.without
            rows.append(
                [workload.name, which, f"{found.without:.0f}", f"{found.under:.0f}", f"{added:.0f}", found.ratio]
            )
    return table(["loop", "probes", "ns/op without", "with", "added", "ratio"], rows, left=2)


def main() -> None:
    """Print the tables."""
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with machine() as place:
        say("cost by program")
        with probes() as loaded, stats("1"):
            print(cost_table(loaded, place, scale), end="\n\n", flush=True)
        say("slowdown")
        with stats("0"):
            print(slowdown_table(place, scale, PAIRS))


if __name__ == "__main__":
    main()
