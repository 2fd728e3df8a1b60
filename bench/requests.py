# SPDX-License-Identifier: Apache-2.0
"""What a request to a disk costs in the kernel: with the probe block_io, with block_waits, and with a third-party
probe.

    python bench/requests.py [direct reads in each round, default 8000 [object file to compare with]]

Needs root and fio. The file is one that libbpf loads, as biolatency.bpf.o of ebpf_exporter: three programs that measure
the duration by device and operation. In each round all are loaded in turn, each while no other is, and fio reads 4 KiB
at random places past the cache. "ns" are those of all programs that one read takes, as kernel.bpf_stats_enabled counts
them, "net" is without the counting, which is measured of programs that do nothing on the same hooks. The ratios are to
the last row. All are medians of the rounds. "submitter" is block_io without asking the bio for its cgroup.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from measuring.empty_programs import empty_programs
from measuring.libbpf_object import attached_object
from measuring.printing import progress, table
from measuring.probes import BPF, probes, request, stats
from measuring.workloads import LoopRunner, Workload, machine

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import program_runs
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

ROUNDS = 7
PROBE = "block_io"
ASKED = "bio.bi_blkg"
"""Without this field the probe does not ask the bio."""

Attached = Callable[[], AbstractContextManager[Mapping[str, int]]]
"""Attaches programs for the length of a block; their descriptors by name."""


@contextmanager
def nothing() -> Iterator[Mapping[str, int]]:
    """Programs that do nothing, on the hooks of block_io."""
    with empty_programs((PROBE,)) as loaded:
        yield {program.name: program.fd for program in loaded.programs}


def variants(other: Path | None) -> dict[str, Attached]:
    """What is compared, by what the table calls it."""
    found: dict[str, Attached] = {
        "block_io, submitter": submitter_only,
        PROBE: lambda: probe(PROBE),
        "block_waits": lambda: probe("block_waits"),
    }
    return found if other is None else {**found, other.name: lambda: attached_object(other)}


@contextmanager
def probe(name: str) -> Iterator[Mapping[str, int]]:
    """A probe as it is."""
    with probes((name,)) as loaded:
        yield {program.name: program.fd for program in loaded.programs}


@contextmanager
def submitter_only() -> Iterator[Mapping[str, int]]:
    """The probe as if the kernel noted no cgroup in bios."""
    asked = request((PROBE,))
    without = replace(asked, btf=tuple(field for field in asked.btf if field != ASKED))
    with load([read_probe(BPF / f"{PROBE}.yaml")], without) as loaded:
        yield {program.name: program.fd for program in loaded.programs}


@dataclass(frozen=True)
class Cost:
    """Of one read, in all programs: nanoseconds as counted, and how often a program ran."""

    ns: float
    runs: float
    programs: Mapping[str, float]
    """Nanoseconds by program."""


def measure(attached: Attached, place: LoopRunner, operations: int) -> Cost:
    """What one read takes."""
    with attached() as programs:
        before = {name: program_runs(fd) for name, fd in programs.items()}
        done, _ = place.run(Workload("direct reads", "fio", operations), 1)
        after = {name: program_runs(fd) for name, fd in programs.items()}
    ns = {name: (after[name][1] - before[name][1]) / done for name in programs}
    runs = sum(after[name][0] - before[name][0] for name in programs) / done
    return Cost(sum(ns.values()), runs, ns)


def one_round(place: LoopRunner, compared: Mapping[str, Attached], operations: int) -> dict[str, tuple[Cost, float]]:
    """Each variant's cost, and what is left of it without the counting."""
    empty = measure(nothing, place, operations)
    counting = empty.ns / max(1.0, empty.runs)
    costs = {name: measure(attached, place, operations) for name, attached in compared.items()}
    return {name: (cost, cost.ns - cost.runs * counting) for name, cost in costs.items()}


def lines_of(name: str, rounds: Sequence[Mapping[str, tuple[Cost, float]]]) -> Iterator[list[object]]:
    """A variant's lines of the table."""
    last = list(rounds[0])[-1]
    gross, net = ([each[name][0].ns for each in rounds], [each[name][1] for each in rounds])
    ratios = [ns / each[last][0].ns for ns, each in zip(gross, rounds, strict=True)]
    net_ratios = [ns / each[last][1] for ns, each in zip(net, rounds, strict=True)]
    numbers = [f"{statistics.median(gross):.0f}", f"{statistics.median(net):.0f}"]
    yield [name, "all", *numbers, f"{statistics.median(ratios):.2f}", f"{statistics.median(net_ratios):.2f}"]
    for program in rounds[0][name][0].programs:
        ns = statistics.median(each[name][0].programs[program] for each in rounds)
        if ns >= 1:
            yield ["", program, f"{ns:.0f}", "", "", ""]


def compare(place: LoopRunner, compared: Mapping[str, Attached], operations: int) -> str:
    """The table."""
    rounds = []
    for number in range(ROUNDS):
        progress(f"  round {number + 1} of {ROUNDS}")
        rounds.append(one_round(place, compared, operations))
    rows = [line for name in compared for line in lines_of(name, rounds)]
    return table(["measured by", "program", "ns", "net", "ratio", "net ratio"], rows, left=2)


def main() -> None:
    """Print the table."""
    operations = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    other = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with machine() as place, stats("1"):
        print(compare(place, variants(other), operations))


if __name__ == "__main__":
    main()
