# SPDX-License-Identifier: Apache-2.0
"""What folding costs per interval, compared with the exporter's work on the same frames.

    python bench/folding.py

A histogram of ten buckets and a counter of so many processes in a tenth as many cgroups. "fits": the budget is larger,
nothing is folded. "folded": it is 9,000 series, or a third of what there is. "churn": a tenth of the processes are
others in each tick. "page": export and scrape of what comes out of it, "unfolded": of what goes in, both by the same
exporter; all are medians. "ratio": folding and page over unfolded. MB: what is kept of rows in the end.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial

import numpy as np
from measuring.printing import table
from measuring.timing import clocked

from ebpf_sidecar.exporters.prometheus import FACTORY, PrometheusExporter
from ebpf_sidecar.pipeline import ComponentKind, Frame, Frames, RowSet, Text
from ebpf_sidecar.pipeline.cardinality.folding import Folding
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.testing import NOON, fake_context, frame

TICKS, EXPIRATION, INTERVAL = 15, 300.0, 10
BOUNDS = tuple(4.0**n for n in range(9))
LINES = len(BOUNDS) + 4
MOST = 9_000


def ticks(size: int, coming: int) -> Iterator[Frames]:
    """The frames of each interval; ``coming`` of the processes are others each time."""
    random, rows = np.random.default_rng(1), None
    totals = np.zeros((size + TICKS * coming, len(BOUNDS) + 1), np.uint64)
    for tick in range(TICKS):
        alive = np.arange(tick * coming, tick * coming + size)
        totals[alive] += random.integers(0, 100, (size, 1)).astype(np.uint64)
        rows = owners(alive) if rows is None or coming else rows
        values, when = totals[alive], {"time_unix_nano": NOON + tick * INTERVAL * 10**9}
        sums = values.sum(axis=1).astype(np.float64)
        yield [
            frame("calls", values, rows, unit="s", bounds=BOUNDS, sums=sums, **when),
            frame("bytes", values[:, 0], rows, unit="By", **when),
        ]


def owners(numbers: np.ndarray) -> RowSet:
    """Ten processes of each cgroup."""
    columns = {
        "process.linux.cgroup": Text.of(f"/system.slice/service-{number // 10}.service" for number in numbers.tolist()),
        "process.executable.name": Text.of(f"program-{number}" for number in numbers.tolist()),
    }
    return RowSet(numbers.astype(np.uint64), columns)


def exporter() -> PrometheusExporter:
    """One that shows all that it is given."""
    settings = FACTORY.settings(fold_beyond=None, page_limit={"series": 10**8, "size": "10GiB"})
    return PrometheusExporter(settings, fake_context(ComponentKind.EXPORTER, "prometheus"))


def served(exporter: PrometheusExporter, frames: Frames) -> bytes:
    """The page after another batch."""
    exporter.export(frames)
    return exporter.scrape(Request("GET", "/metrics", {})).body


def measured(size: int, budget: int, coming: int) -> list[object]:
    """A line of the table."""
    folding, folded, whole = Folding(budget, EXPIRATION, series), exporter(), exporter()
    costs = []
    for tick, frames in enumerate(ticks(size, coming)):
        took, shown = clocked(partial(folding.fold, frames, float(tick * INTERVAL)))
        costs.append((took, clocked(partial(served, folded, shown))[0], clocked(partial(served, whole, frames))[0]))
    fold, page, without = (statistics.median(each[1:]) for each in zip(*costs, strict=True))
    return [fold, page, without, (fold + page) / without, folding.memory() / 1e6]


def series(each: Frame) -> int:
    """What a row takes of the budget."""
    return 1 if each.bounds is None else LINES


def main() -> None:
    """Print the table."""
    heads = ("processes", "case", "fold ms", "page ms", "unfolded ms", "ratio", "MB")
    rows = []
    for size in (100, 1_000, 10_000):
        all_of_them = size * (LINES + 1)
        for name, budget, coming in (
            ("fits", 10 * all_of_them, 0),
            ("folded", min(MOST, all_of_them // 3), 0),
            ("folded, churn", min(MOST, all_of_them // 3), size // 10),
        ):
            rows.append([f"{size:,}", name, *measured(size, budget, coming)])
    print(table(heads, rows))


if __name__ == "__main__":
    main()
