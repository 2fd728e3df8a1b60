# SPDX-License-Identifier: Apache-2.0
"""What the probes cost inside the kernel, by program and workload, and how much they slow a program down.

    python bench/probe_cost.py [scale of the loops, default 1.0 [part of a workload's name]]

Needs root, a C compiler, fio for the direct reads and a memory cgroup for shortage of memory. The probes are all that
come with the product but block_waits (see requests.py), loaded without the service. First table: nanoseconds of one run
of a program as kernel.bpf_stats_enabled counts them ("ns/run"); what is counted in the same moments of a program that
does nothing on the same hook ("empty": the counting itself); the difference ("net"); runs per operation, and the net
nanoseconds of an operation. The rows "all" have the mean of all runs. The counts are machine-wide: what starts the loop
is in them, and of other programs what they did in the least disturbed of several repetitions. Second table: the mean of
a program's runs in all workloads, of which one operation of each counts alike, and the programs that do not meet the
target. With part of a workload's name, that is all. Third table: a loop's processor time without and with the probes,
in turn, with the counting off; "added" and "ratio" are medians over the pairs. Fourth table, the only one with `empty`
for a name: what `page_cache` and `syscalls` add to calls, and how many times as much that is as what programs add that
do nothing on the same hooks; each of the three is the best of several rounds in turn, since what disturbs only adds.
The file's type of a read is known where pages are looked up; otherwise it is found through the table of open files. For
comparison, the sums for one cached read that were measured for the design (counting included): 201 ns in three programs
of a prototype, 319 ns in a predecessor that counted less.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from measuring.empty_programs import EMPTY, empty_programs
from measuring.printing import progress, table
from measuring.probes import PROBES, probes, stats
from measuring.workloads import LoopRunner, Workload, machine

from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes

PAIRS = 7
ROUNDS = 5
TRIES = 5
TARGET = 60  # nanoseconds of a program's run, in the mean
REPETITIONS = 5
IDLE = ("memory", "page_faults")  # their programs do not run in loops of calls
LEAST_RUNS = 0.005  # per operation; below is what other programs did meanwhile
REFERENCE = [["prototype (64 + 86 + 51)", 201], ["predecessor (115 + 139 + 66)", 319]]

WORKLOADS = (
    Workload("cached pread, 512 B of one page", "same", 300_000),
    Workload("cached pread, 4 KiB in order", "pages", 200_000),
    Workload("call that is not followed", "calls", 600_000),
    Workload("direct read, 4 KiB at random", "fio", 20_000),
    Workload("page fault, fresh memory", "fresh", 200_000),
    Workload("page fault, mapped file on disk", "faults", 4_096, cold=True),
    Workload("cold read in order, 4 KiB", "pages", 16_384, cold=True),
    Workload("cold read in order, 64 KiB", "blocks", 1_024, cold=True),
    Workload("page fault in a cgroup of 8 MiB", "faults", 16_384, cold=True, limit=8 << 20),
)


TYPED = (
    Workload("cached pread, typed by its lookup", "same", 300_000),
    Workload("pread in memory, typed by its descriptor", "memory", 300_000),
    Workload("write to /dev/null, typed by its descriptor", "null", 300_000),
)
CALLS = ("page_cache", "syscalls")


@dataclass(frozen=True)
class Cost:
    """A program during a workload: nanoseconds a run as counted, of which ``empty`` are the counting's own, and runs an
    operation."""

    program: str
    ns: float
    empty: float
    runs: float

    @property
    def net(self) -> float:
        """Nanoseconds a run of the program itself."""
        return self.ns - self.empty


def mean_net(found: Sequence[Cost]) -> float:
    """Nanoseconds of one run of any program."""
    return sum(each.net * each.runs for each in found) / sum(each.runs for each in found)


def per_operation(found: Sequence[Cost]) -> float:
    """Nanoseconds in all programs, without the counting."""
    return sum(each.net * each.runs for each in found)


def costs(
    loaded: LoadedProbes, control: LoadedProbes, place: LoopRunner, workload: Workload, scale: float
) -> list[Cost]:
    """Each program's cost in the repetition that other programs disturbed least."""
    repetitions = [repetition(loaded, control, place, workload, scale) for _ in range(REPETITIONS)]
    least = min(repetitions, key=lambda found: sum(cost.runs for cost in found))
    return [cost for cost in least if cost.runs >= LEAST_RUNS]


def repetition(
    loaded: LoadedProbes, control: LoadedProbes, place: LoopRunner, workload: Workload, scale: float
) -> list[Cost]:
    """What the programs and the empty ones next to them did during one run of the workload."""
    programs = {program.name: program for program in (*loaded.programs, *control.programs)}
    before = {name: program.runs() for name, program in programs.items()}
    operations, _ = place.run(workload, scale)
    found = {}
    for name, program in programs.items():
        runs, ns = (now - then for now, then in zip(program.runs(), before[name], strict=True))
        found[name] = (runs / operations, ns / runs if runs else 0.0)
    usual = statistics.median(found[program.name][1] for program in control.programs)
    each = ((program.name, *found[program.name]) for program in loaded.programs)
    return [Cost(name, ns, found.get(EMPTY + name, (0.0, usual))[1], runs) for name, runs, ns in each]


Measured = dict[str, list[Cost]]
"""Costs by the workload's name; empty where it cannot be run here."""


def measure(place: LoopRunner, workloads: Iterable[Workload], scale: float) -> Measured:
    """The costs of all programs, and of the counting, in each workload."""
    found: Measured = {}
    with probes() as loaded, empty_programs() as control, stats("1"):
        for workload in workloads:
            progress(f"  {workload.name}")
            missing = workload.why_not()
            found[workload.name] = [] if missing else costs(loaded, control, place, workload, scale)
    return found


def cost_table(measured: Measured) -> str:
    """All workloads and programs."""
    rows: list[list[object]] = []
    for name, found in measured.items():
        if not found:
            rows.append([name, "cannot be run here", *[""] * 5])
            continue
        rows.append([name, "all", "", "", f"{mean_net(found):.0f}", "", f"{per_operation(found):.0f}"])
        rows += [["", each.program, *_numbers(each)] for each in found]
    rows += [["for comparison: cached read", name, "", "", "", "", ns] for name, ns in REFERENCE]
    return table(["workload", "program", "ns/run", "empty", "net", "runs/op", "net ns/op"], rows, left=2)


def _numbers(cost: Cost) -> list[str]:
    product = cost.net * cost.runs
    return [f"{cost.ns:.0f}", f"{cost.empty:.0f}", f"{cost.net:.0f}", f"{cost.runs:.3f}", f"{product:.0f}"]


@dataclass(frozen=True)
class Mean:
    """A program's run in all workloads: nanoseconds as counted (``gross``), and of the program itself (``net``)."""

    gross: float
    net: float


def means(measured: Measured) -> dict[str, Mean]:
    """By program, the most expensive first."""
    each = defaultdict(list)
    for cost in (cost for found in measured.values() for cost in found):
        each[cost.program].append(cost)
    found = {
        program: Mean(sum(cost.ns * cost.runs for cost in costs) / sum(cost.runs for cost in costs), mean_net(costs))
        for program, costs in each.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].net))


def program_table(found: Mapping[str, Mean]) -> str:
    """What a program's run costs."""
    rows: list[list[object]] = [
        [name, f"{mean.gross:.0f}", f"{mean.gross - mean.net:.0f}", f"{mean.net:.0f}", _verdict(mean.net)]
        for name, mean in found.items()
    ]
    return table(["program", "gross", "counting", "net", f"target: {TARGET}"], rows)


def _verdict(ns: float) -> str:
    return "" if ns <= TARGET else "above"


def target_lines(measured: Measured, programs: Mapping[str, Mean]) -> str:
    """The figures to hold against the target: the mean of all runs in each workload, and which programs are above."""
    lines = [
        f"{name}: {mean_net(found):.0f} ns a run in the mean, {per_operation(found):.0f} ns an operation"
        for name, found in measured.items()
        if found
    ]
    above = [f"{name} ({mean.net:.0f})" for name, mean in programs.items() if mean.net > TARGET]
    reported = f"{len(above)} of {len(programs)} programs above {TARGET} ns: {', '.join(above)}"
    return "\n".join(["without the counting:", *lines, reported])


@dataclass(frozen=True)
class Slowdown:
    """Nanoseconds an operation without and with the probes; the medians of the pairs' differences and ratios."""

    without: float
    under: float
    added: float
    ratio: float


def slowdown(place: LoopRunner, workload: Workload, names: tuple[str, ...], scale: float, pairs: int) -> Slowdown:
    """A loop without and with probes, in turn."""
    found = []
    for _ in range(pairs):
        without = _per_operation(place, workload, scale)
        with probes(names):
            found.append((without, _per_operation(place, workload, scale)))
    without, under = (statistics.median(column) for column in zip(*found, strict=True))
    added = statistics.median(b - a for a, b in found)
    return Slowdown(without, under, added, statistics.median(b / a for a, b in found))


def _per_operation(place: LoopRunner, workload: Workload, scale: float) -> float:
    """The best of some tries: what disturbs only adds."""
    return min(place.run(workload, scale)[1] for _ in range(TRIES))


def slowdown_table(place: LoopRunner, scale: float, pairs: int) -> str:
    """The loops that spend all their time in calls, under all probes and under one; and in page faults."""
    rows: list[list[object]] = []
    calls, alone = WORKLOADS[:3], [(name,) for name in PROBES if name not in IDLE]
    chosen = [(loop, names) for loop in calls for names in (PROBES, *alone)]
    for workload, names in [*chosen, (WORKLOADS[4], ("page_faults",))]:
        progress(f"  {workload.name}, {', '.join(names)}")
        found = slowdown(place, workload, names, scale, pairs)
        which = "all" if names == PROBES else names[0]
        shown = (f"{number:.0f}" for number in (found.without, found.under, found.added))
        rows.append([workload.name, which, *shown, found.ratio])
    return table(["loop", "probes", "ns/op without", "with", "added", "ratio"], rows, left=2)


def times_empty(place: LoopRunner, workload: Workload, scale: float) -> tuple[float, float, float]:
    """Nanoseconds that empty programs add to an operation, those that the probes add, and how many times as much."""
    rounds = []
    with place.repeated(workload, scale) as measured:
        for _ in range(ROUNDS):
            without = measured()
            with empty_programs(CALLS):
                empty = measured()
            with probes(CALLS):
                rounds.append((without, empty, measured()))
    without, empty, under = (min(column) for column in zip(*rounds, strict=True))
    return empty - without, under - without, (under - without) / (empty - without)


def empty_table(place: LoopRunner, scale: float) -> str:
    """What the probes add, against programs that do nothing."""
    rows: list[list[object]] = []
    for workload in TYPED:
        progress(f"  {workload.name}")
        empty, added, times = times_empty(place, workload, scale)
        rows.append([workload.name, f"{empty:.0f}", f"{added:.0f}", f"{times:.2f}"])
    return table(["call", "empty programs add", "the probes add", "times"], rows)


def main(scale: float = 1.0, words: str = "") -> None:
    """Print the tables; of the workloads that ``words`` name, only the first."""
    with machine() as place:
        if words == "empty":
            with stats("0"):
                print(empty_table(place, scale))
            return
        progress("cost by program")
        measured = measure(place, [each for each in WORKLOADS if words in each.name], scale)
        programs = means(measured)
        print(cost_table(measured), program_table(programs), target_lines(measured, programs), sep="\n\n", flush=True)
        if not words:
            progress("slowdown")
            with stats("0"):
                print("", slowdown_table(place, scale, PAIRS), "", empty_table(place, scale), sep="\n")


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((float, str), sys.argv[1:], strict=False)))
