# SPDX-License-Identifier: Apache-2.0
"""How long the Prometheus page is, and what making it costs, by configuration and workload.

    python bench/page.py [short-lived processes, default 5000]

A machine that builds software (`measuring/build_machine.py`): 600 pairs of cgroup and process that are always there,
and 5,000 processes that live for a second in the eight minutes of the run, each with a name of its own. Readings every
ten seconds pass through `container` and `rate` to the exporter, which is scraped now and then. "series" and "MB" are
the page's at the end of the run, "most" the most series that it had; "gzip" is what a scraper gets that takes it.
Milliseconds are medians. Before: all buckets that are counted, a row for each pair, and no limit. "counts lost": calls
that the kernel counted and by which no series grew from one scrape to the next.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from measuring.build_machine import INTERVAL, SETTLED, BuildMachine
from measuring.printing import progress, table
from measuring.timing import clocked

from ebpf_sidecar.exporters.prometheus import FACTORY, PrometheusExporter
from ebpf_sidecar.pipeline import ComponentKind, Frame, Kind
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.testing import FakeClock, fake_context

TICKS, SCRAPED = 48, 8
"""Readings in eight minutes, and how many of them go by between two scrapes: a page without a limit takes its time."""
SHOWN_LATER = 2
"""Readings until the page shows what a new series has counted."""
UNLIMITED = {"fold_beyond": None, "page_limit": {"series": 10**8, "size": "10GiB"}}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "before": {"histogram_bounds": "full", **UNLIMITED},
    "without folding": UNLIMITED,
    "default": {},
}
PLAIN = Request("GET", "/metrics", {})
GZIP = Request("GET", "/metrics", {"accept-encoding": "gzip"})
COUNTED = "ebpf.syscall.duration"


@dataclass
class Run:
    """One configuration, and what was seen of it."""

    settings: Mapping[str, Any]
    exporting: list[float] = field(default_factory=list)
    scraping: list[float] = field(default_factory=list)
    series: list[int] = field(default_factory=list)
    page: bytes = b""
    packed: int = 0
    lost: int = 0
    grown: int = 0
    before: dict[str, int] = field(default_factory=dict)

    def go(self, processes: int, settled: int = SETTLED, ticks: int = TICKS) -> Run:
        """The whole run: so many processes come and go beside those that are always there."""
        machine, clock = BuildMachine(settled), FakeClock()
        context = fake_context(ComponentKind.EXPORTER, "prometheus", clock=clock)
        exporter = PrometheusExporter(FACTORY.settings(**self.settings), context)
        for tick in range(ticks + SHOWN_LATER):
            frames = machine.tick(tick, processes * min(tick + 1, ticks) // ticks)
            self.exporting.append(clocked(lambda frames=frames: exporter.export(frames))[0])
            if (tick + 1) % SCRAPED == 0 or tick + 1 >= ticks:
                self.scraping.append(clocked(lambda: exporter.scrape(PLAIN))[0])
                self.page = exporter.scrape(PLAIN).body
                self.series.append(series_of(self.page))
                self._compare(shown(self.page.decode()))
            clock.advance(INTERVAL)
        self.packed = len(exporter.scrape(GZIP).body)
        self.lost = counted(frames) - self.grown
        return self

    def _compare(self, calls: dict[str, int]) -> None:
        """Add up by how much each series grew, from 0 where it is new."""
        self.grown += sum(value - self.before.get(name, 0) for name, value in calls.items())
        self.before = calls

    def cells(self) -> list[object]:
        """A line of the table."""
        times = [statistics.median(self.exporting), statistics.median(self.scraping)]
        sizes = [len(self.page) / 1e6, self.packed / 1e6]
        return [f"{self.series[-1]:,}", f"{max(self.series):,}", *sizes, *times, f"{self.lost:,}"]


def series_of(page: bytes) -> int:
    """Lines that are no comments."""
    return sum(not line.startswith(b"#") for line in page.splitlines())


def counted(frames: Sequence[Frame]) -> int:
    """Calls that the receiver knows of."""
    return sum(int(frame.values.sum()) for frame in frames if frame.name == COUNTED and frame.kind is Kind.HISTOGRAM)


def shown(page: str) -> dict[str, int]:
    """Calls on the page, by series."""
    lines = (line for line in page.split("\n") if line.startswith("ebpf_syscall_duration_seconds_count"))
    return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def main() -> None:
    """Print the table."""
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    heads = ("configuration", "series", "most", "MB", "gzip", "export ms", "scrape ms", "counts lost")
    rows = []
    for name, settings in SHAPES.items():
        progress(f"  {name}")
        rows.append([name, *Run(settings).go(processes).cells()])
    print(table(heads, rows))


if __name__ == "__main__":
    main()
