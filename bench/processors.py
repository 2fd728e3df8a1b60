# SPDX-License-Identifier: Apache-2.0
"""What the processors `container` and `rate` cost in each interval, by the number of rows.

    python bench/processors.py

``same rows``: the usual tick, the row set is the object of the tick before. ``other rows``: rows came or went.
"""

import statistics
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from measuring.printing import table
from measuring.timing import clocked

from ebpf_sidecar.pipeline import ComponentKind, Frames, RowSet, Text
from ebpf_sidecar.pipeline.testing import NOON, fake_context, frame
from ebpf_sidecar.processors.container import ContainerProcessor, ContainerSettings
from ebpf_sidecar.processors.rate import RateProcessor, RateSettings

TICKS = 7
CAUSES = ("read", "write", "mmap", "other")


def page_cache(size: int, tick: int, shared: tuple[RowSet, RowSet] | None) -> Frames:
    """A tick of the page cache: ``size`` rows, each with four causes of adds."""
    owners, adds = shared or row_sets(size)
    when = {"time_unix_nano": NOON + tick * 10**9}
    attempts = np.arange(size, dtype=np.uint64) * np.uint64(tick + 1)
    return [
        frame("ebpf.cache.read_attempts", attempts, owners, **when),
        frame("ebpf.cache.misses", attempts // np.uint64(3), owners, **when),
        frame("ebpf.page_cache.adds", np.repeat(attempts // np.uint64(3), len(CAUSES)), adds, **when),
    ]


def row_sets(size: int) -> tuple[RowSet, RowSet]:
    """Containers with five executables each, and the same once for each cause."""
    columns = {
        "process.linux.cgroup": Text.of(f"/kubepods/burstable/pod{i // 5:032x}/{i // 5:064x}" for i in range(size)),
        "process.executable.name": Text.of(f"program-{i % 5}" for i in range(size)),
    }
    owners = RowSet(np.arange(size, dtype=np.uint64), columns)
    spread = owners.take(np.repeat(np.arange(size), len(CAUSES)))
    cause = Text.of(CAUSES * size)
    return owners, RowSet(np.arange(len(cause), dtype=np.uint64), {**spread.columns, "cause": cause})


def milliseconds(process: Callable[[Frames], Frames], ticks: list[Frames]) -> float:
    """The median time of a tick, the first one left out."""
    process(ticks[0])
    return statistics.median(clocked(partial(process, frames))[0] for frames in ticks[1:])


def times(name: str, size: int) -> Iterator[float]:
    """Milliseconds with the same rows at each tick, and with others."""
    context = fake_context(ComponentKind.PROCESSOR, name)
    for shared in (row_sets(size), None):
        container = ContainerProcessor(ContainerSettings(), context)
        processor = container if name == "container" else RateProcessor(RateSettings(), context)
        yield milliseconds(processor.process, [page_cache(size, tick, shared) for tick in range(TICKS)])


def main() -> None:
    """Print the table."""
    sizes = (100, 1_000, 10_000, 100_000)
    rows = [[name, size, *times(name, size)] for size in sizes for name in ("container", "rate")]
    print(table(["processor", "rows", "ms, same rows", "ms, other rows"], rows))


if __name__ == "__main__":
    main()
