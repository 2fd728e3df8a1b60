# SPDX-License-Identifier: Apache-2.0
"""What a request to a disk costs in the kernel: with the probe block_io, with block_waits, and with somebody else's.

    python bench/requests.py [direct reads in each round, default 8000 [object file to compare with]]

Needs root and fio. The file is one that libbpf loads, as biolatency.bpf.o of ebpf_exporter: three programs that measure
the duration by device and operation. In each round all are loaded in turn, each while no other is, and fio reads 4 KiB
at random places past the cache. "ns" are those of all programs that one read takes, as kernel.bpf_stats_enabled counts
them, with the counting itself, and "ratio" is to the last row: medians of the rounds. "submitter" is block_io without
asking the bio for its cgroup.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from measuring.libbpf_object import attached_object
from measuring.printing import say, table
from measuring.probes import BPF, probes, request, stats
from measuring.workloads import Machine, Workload, machine

from ebpf_sidecar.receivers.ebpf.bpf_call import program_runs
from ebpf_sidecar.receivers.ebpf.loading import load
from ebpf_sidecar.receivers.ebpf.probe_file import read_probe

ROUNDS = 7
PROBE = "block_io"
ASKED = "bio.bi_blkg"
"""Without this field the probe does not ask the bio."""

Attached = Callable[[], AbstractContextManager[Mapping[str, int]]]
"""Attaches programs for the length of a block; their descriptors by name."""


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


def measure(attached: Attached, place: Machine, operations: int) -> dict[str, float]:
    """Nanoseconds that one read takes, by program."""
    with attached() as programs:
        before = {name: program_runs(fd)[1] for name, fd in programs.items()}
        done, _ = place.run(Workload("direct reads", "fio", operations), 1)
        return {name: (program_runs(fd)[1] - before[name]) / done for name, fd in programs.items()}


def compare(place: Machine, compared: Mapping[str, Attached], operations: int) -> str:
    """The table."""
    sums: dict[str, list[float]] = defaultdict(list)
    parts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for round_ in range(ROUNDS):
        say(f"  round {round_ + 1} of {ROUNDS}")
        for name, attached in compared.items():
            found = measure(attached, place, operations)
            sums[name].append(sum(found.values()))
            for program, ns in found.items():
                parts[name][program].append(ns)
    last = sums[list(compared)[-1]]
    rows: list[list[object]] = []
    for name, each in sums.items():
        ratio = statistics.median(ns / reference for ns, reference in zip(each, last, strict=True))
        rows.append([name, "all", f"{statistics.median(each):.0f}", f"{ratio:.2f}"])
        medians = {program: statistics.median(ns) for program, ns in parts[name].items()}
        rows += [["", program, f"{ns:.0f}", ""] for program, ns in medians.items() if ns >= 1]
    return table(["measured by", "program", "ns", "ratio"], rows, left=2)


def main() -> None:
    """Print the table."""
    operations = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    other = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with machine() as place, stats("1"):
        print(compare(place, variants(other), operations))


if __name__ == "__main__":
    main()
