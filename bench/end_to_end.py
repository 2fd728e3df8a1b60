# SPDX-License-Identifier: Apache-2.0
"""How much slower programs run while the service measures them, compared with two controls.

    python bench/end_to_end.py [rounds, default 5 [scale of the loops, default 1.0 [part of a workload's name]]]

Needs root, a C compiler, fio for random reads, bpftrace for one of the controls. Each round does all workloads in turn
with nothing; with the service, as a process of its own in the packaged configuration with all probes and its exporter;
with programs that do nothing on the same hooks, which is what any agent pays that listens there; and with a script for
bpftrace that asks the same questions in the simplest way. There is a target for a cached read with page_cache and
syscalls: the other probes are on, too, but none of their programs runs in it. ns/op: of each thread, processor time in
the loops and elapsed time for fio; the median of the rounds, of some tries each the best. ratio and added: medians of
what each round has beside its "nothing"; from and to: lowest and highest ratio of a round. A try during which programs
of others came or went is done again.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from measuring.attached import quiet, tracing_programs
from measuring.bpftrace import bpftrace, why_no_bpftrace
from measuring.empty_programs import empty_programs
from measuring.printing import progress, table
from measuring.probes import PROBES, stats
from measuring.service import Sidecar
from measuring.workloads import LoopRunner, Workload, machine

ROUNDS, TRIES, MOST_TRIES = 5, 3, 6
BAR = 32  # characters
NOTHING, SERVICE = "nothing", "the service"

WORKLOADS = (
    Workload("cached pread, 512 B of one page", "same", 100_000),
    Workload("cached pread, 512 B of one page", "same", 80_000, threads=2),
    Workload("getppid and write to /dev/null", "mix", 200_000),
    Workload("getppid and write to /dev/null", "mix", 150_000, threads=2),
    Workload("fio: 4 KiB at random, direct", "fio", 3_000),
    Workload("fio: 4 KiB at random, direct", "fio", 2_000, threads=2),
    Workload("fio: 4 KiB at random, cold cache", "fio_buffered", 3_000, cold=True),
    Workload("fio: 4 KiB at random, cold cache", "fio_buffered", 2_000, cold=True, threads=2),
)
Variants = Mapping[str, Callable[[], AbstractContextManager[object]]]
Times = dict[Workload, dict[str, list[float]]]
"""Nanoseconds of an operation in each round, by workload and variant."""


@contextmanager
def service() -> Iterator[None]:
    """All probes, until the end of the block; begins when the first page was there."""
    with Sidecar("10s", PROBES) as running:
        running.first_page()
        yield


def variants() -> Variants:
    """What is available here, in the order of a round."""
    found: dict[str, Callable[[], AbstractContextManager[object]]] = {
        NOTHING: nullcontext, SERVICE: service, "empty programs": empty_programs
    }  # fmt: skip
    reason = why_no_bpftrace()
    if reason:
        progress(f"without bpftrace: {reason}")
        return found
    return {**found, "bpftrace": bpftrace}


@dataclass
class Bench:
    """The rounds. ``strange``: tries in which programs of others were at work, of ``tries``; ``patience``: seconds to
    wait for them to go."""

    place: LoopRunner
    scale: float
    patience: float = 15.0
    tries: int = 0
    strange: int = 0

    def rounds(self, count: int, workloads: Sequence[Workload], chosen: Variants) -> Times:
        """Every workload under every variant, ``count`` times."""
        times: Times = {workload: defaultdict(list) for workload in workloads}
        for number in range(count):
            for name, variant in chosen.items():
                progress(f"  round {number + 1} of {count}: {name}")
                alone = quiet(self.patience)
                with variant():
                    for workload in workloads:
                        times[workload][name].append(self.best(workload, alone=alone))
        return times

    def best(self, workload: Workload, *, alone: bool) -> float:
        """The least disturbed of some tries; those in which others' programs came or went do not count."""
        good: list[float] = []
        for left in reversed(range(MOST_TRIES)):
            before = tracing_programs()
            _, ns = self.place.run(workload, self.scale)
            self.tries += 1
            changed = before != tracing_programs()
            self.strange += changed or not alone
            if not changed or left < TRIES:
                good.append(ns)
            if len(good) == TRIES:
                break
        return min(good)


def rows_of(workload: Workload, times: Mapping[str, list[float]]) -> Iterator[list[object]]:
    """A row for each variant."""
    most = max(map(statistics.median, times.values()))
    for name, each in times.items():
        middle = statistics.median(each)
        bar = ("█" * round(BAR * middle / most)).ljust(BAR)
        first = title(workload) if name == NOTHING else ""
        yield [first, name, f"{middle:.0f}", *_beside_nothing(times, name), bar]


def _beside_nothing(times: Mapping[str, list[float]], name: str) -> list[object]:
    if name == NOTHING:
        return [""] * 4
    ratios = [b / a for a, b in zip(times[NOTHING], times[name], strict=True)]
    return [statistics.median(ratios), f"{added(times, name):+.0f}", min(ratios), max(ratios)]


def title(workload: Workload) -> str:
    """As the table calls it."""
    return f"{workload.name}, {workload.threads} thread{'s' if workload.threads > 1 else ''}"


def added(times: Mapping[str, list[float]], name: str) -> float:
    """Nanoseconds that an operation takes longer: the median of the rounds."""
    return statistics.median(b - a for a, b in zip(times[NOTHING], times[name], strict=True))


def result(times: Times) -> str:
    """The table, and the figure to hold against the target."""
    heads = ["workload", "with", "ns/op", "ratio", "added", "from", "to", ""]
    text = table(heads, [row for workload, each in times.items() for row in rows_of(workload, each)], left=2)
    read = WORKLOADS[0]
    if read not in times:
        return text
    return f"{text}\n\n{title(read)}: {added(times[read], SERVICE):.0f} ns added by the service (target: <= 200)"


def main(rounds: int = ROUNDS, scale: float = 1.0, words: str = "") -> None:
    """Print the table, of the workloads that ``words`` name."""
    possible = [each for each in WORKLOADS if not each.why_not()]
    workloads = [each for each in possible if words in title(each)]
    with machine() as place, stats("0"):
        bench = Bench(place, scale)
        print(result(bench.rounds(rounds, workloads, variants())))
    if bench.strange:
        print(f"{bench.strange} of {bench.tries} tries while others on this machine traced it, too")


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, float, str), sys.argv[1:], strict=False)))
