# SPDX-License-Identifier: Apache-2.0
"""What one interval costs from the kernel's entries to the scraped page, at 100 to 100,000 series.

    python bench/tick.py [most series, default 100000]

The real probes' YAML over maps that this program fills: `page_cache` (an entry is twelve series) and `syscalls` (an
entry is a histogram of 29 buckets and two counters: 33 series). Owners are containers with five executables each; every
entry changes in every interval. Milliseconds, medians: "first" is the first reading, all rows new; "update" reads and
adds up, "churn" the same where one entry of a hundred is new and one is gone; then "frames" and their "coverage", the
processors `container` and `rate`, the Prometheus exporter's "export" and its "scrape"; "tick" is all of these but first
and churn. Control in the same run: the same points as objects of the OpenTelemetry SDK ("sdk objects"), and those
objects through opentelemetry-exporter-prometheus to a page ("+ page"); "ratio" is their sum over "tick". With root,
"kernel map" is the time to read as many entries from a real hash map of the kernel.
"""

from __future__ import annotations

import os
import statistics
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from measuring.printing import progress, table
from measuring.timing import clocked
from opentelemetry.exporter.prometheus import _CustomCollector
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, generate_latest
from scrape import TEXT, exporter, sdk_metric

from ebpf_sidecar.pipeline import ComponentKind, Frame, Kind
from ebpf_sidecar.pipeline.component import MapCleanup
from ebpf_sidecar.pipeline.testing import NOON, fake_context
from ebpf_sidecar.processors.container import ContainerProcessor, ContainerSettings
from ebpf_sidecar.processors.rate import RateProcessor, RateSettings
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime
from ebpf_sidecar.receivers.ebpf.frames.reading import Reading, coverage, reading_of
from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import Command, opened, packed
from ebpf_sidecar.receivers.ebpf.maps.kernel_map import KernelMap
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

BPF = Path(__file__).parents[1] / "bpf"
OWNER = [("cgroup", "<u8"), ("tgid", "<u4"), ("generation", "<u4"), ("comm", "S16")]
TICKS = 7
INTERVAL = 10
RANDOM = np.random.default_rng(1)
EXECUTABLES = 5
UPDATE_BATCH, MAP, BATCH = 26, struct.Struct("<IIIII"), struct.Struct("<QQQQIIQQ")  # of bpf(2)
STEPS = ("update", "frames", "coverage", "container", "rate", "export", "scrape")


@dataclass(frozen=True)
class Shape:
    """A probe's map: its published name, the key after the owner, the columns, and how many series an entry is."""

    probe: str
    map: str
    more: tuple[tuple[str, str], ...]
    fields: Mapping[str, slice]
    series: int

    @property
    def key(self) -> np.dtype[np.void]:
        """The key as the kernel has it."""
        return np.dtype([*OWNER, *self.more])

    @property
    def columns(self) -> int:
        """Columns of a value."""
        return max(part.stop for part in self.fields.values())


SHAPES = (
    Shape("page_cache", "cache_stats_map", (),
          {"lookups": slice(0, 1), "adds": slice(1, 6), "removes": slice(6, 7), "dirtied": slice(7, 8),
           "written_back": slice(8, 9), "misses": slice(9, 10), "mapped_faults": slice(10, 11),
           "mapped_misses": slice(11, 12)}, 12),
    Shape("syscalls", "syscall_stats", (("syscall", "<u4"), ("direction", "<u4"), ("file_type", "<u4")),
          {"duration": slice(0, 29), "duration_sum": slice(29, 30), "bytes": slice(30, 31),
           "refused": slice(31, 32)}, 33),
)  # fmt: skip


def keys_of(shape: Shape, count: int, first: int = 0) -> np.ndarray:
    """Keys of ``count`` owners; all of them read (call 0)."""
    numbers = np.arange(first, first + count)
    keys = np.zeros(count, shape.key)
    keys["cgroup"] = 1000 + numbers // EXECUTABLES
    keys["comm"] = [f"program-{n % EXECUTABLES}".encode() for n in numbers.tolist()]
    if "direction" in keys.dtype.names:
        keys["direction"] = keys["file_type"] = 1
    return keys


class Tree:
    """Every cgroup is a pod's container."""

    def knows(self, _: int) -> bool:
        """Nothing has to be learnt."""
        return True

    def path(self, cgroup: int) -> str:
        """As kubelet's cgroupfs driver names it."""
        return f"/kubepods/burstable/pod{cgroup:032x}/{cgroup:064x}"


@dataclass
class Filled:
    """Stands in for a kernel map; every reading finds other values, made before the clock runs."""

    shape: Shape
    keys: np.ndarray
    name: str = field(init=False)
    columns: int = field(init=False)
    value_fields: Mapping[str, slice] = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.columns, self.value_fields = self.shape.map, self.shape.columns, self.shape.fields
        self._values = np.zeros((len(self.keys), self.columns), np.uint64)
        self.count()

    def count(self, keys: np.ndarray | None = None) -> None:
        """Events happen for all entries; ``keys``: when other entries are there now."""
        self.keys = self.keys if keys is None else keys
        self._values = self._values + RANDOM.integers(1, 100, self._values.shape, np.uint64)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """All entries, in arrays of the reader's own as from the kernel."""
        return self.keys.copy(), self._values.copy()

    def delete(self, _: np.ndarray) -> None:
        """Nothing is ever cleared here."""


def reading(shape: Shape, filled: Filled) -> Reading:
    """The receiver's way from this map to frames; the probe's other maps are taken as absent."""
    probe = read_probe(BPF / f"{shape.probe}.yaml")
    others = [metric for metric in probe.metrics if probe.map(metric.map).published != shape.map]
    loaded = SimpleNamespace(
        maps={shape.map: filled}, unavailable=dict.fromkeys((metric.name for metric in others), ""), generation=None
    )
    attribution = Attribution(Tree(), (GroupBy.CONTAINER, GroupBy.EXECUTABLE))
    return reading_of([probe], loaded, attribution, start=NOON, cleanup=MapCleanup(), limit=10**6)


def one_tick(parts: SimpleNamespace, number: int) -> tuple[dict[str, float], list[Frame]]:
    """Milliseconds by step, and the frames as the receiver made them."""
    parts.filled.count()
    took = {}
    took["update"], _ = clocked(lambda: parts.reading.update(float(number * INTERVAL)))
    reading_time = ReadingTime(NOON + number * INTERVAL * 10**9, {"service.name": "bench"})
    took["frames"], made = clocked(lambda: parts.reading.frames(reading_time))
    took["coverage"], _ = clocked(lambda: coverage(made))
    took["container"], named = clocked(lambda: parts.container.process(made))
    took["rate"], rated = clocked(lambda: parts.rate.process(named))
    took["export"], _ = clocked(lambda: parts.exporter.export(rated))
    took["scrape"], _ = clocked(lambda: parts.exporter.scrape(TEXT))
    return took, made


def measure(shape: Shape, series: int) -> tuple[dict[str, float], list[Frame]]:
    """Medians of all columns but the controls, and the frames of the last tick."""
    count = max(1, series // shape.series)
    filled = Filled(shape, keys_of(shape, count))
    contexts = [fake_context(ComponentKind.PROCESSOR, name) for name in ("container", "rate")]
    parts = SimpleNamespace(
        filled=filled,
        reading=reading(shape, filled),
        container=ContainerProcessor(ContainerSettings(), contexts[0]),
        rate=RateProcessor(RateSettings(), contexts[1]),
        exporter=exporter(),
    )
    first, _ = clocked(lambda: parts.reading.update(0.0))
    one_tick(parts, 1)
    ticks = [one_tick(parts, number) for number in range(2, 2 + TICKS)]
    steps = {step: statistics.median(took[step] for took, _ in ticks) for step in STEPS}
    whole = statistics.median(sum(took.values()) for took, _ in ticks)
    churn = churned(parts, shape, count)
    return {"entries": count, "first": first, "churn": churn, **steps, "tick": whole}, ticks[-1][1]


def churned(parts: SimpleNamespace, shape: Shape, count: int) -> float:
    """Milliseconds to update where one of a hundred entries has gone and as many have come."""
    times, step = [], max(1, count // 100)
    for number in range(1, TICKS + 1):
        parts.filled.count(keys_of(shape, count, first=number * step))
        now = 1000.0 + number * INTERVAL
        times.append(clocked(lambda now=now: parts.reading.update(now))[0])
    return statistics.median(times)


def control(frames: list[Frame], runs: int) -> tuple[float, float]:
    """Milliseconds to make the SDK's objects of the same points, and from these to a page."""
    made, pages = [], []
    for _ in range(runs):
        took, metrics = clocked(lambda: [sdk_metric(frame, frame.rows.records()) for frame in frames])
        made.append(took)
        pages.append(clocked(lambda metrics=metrics: official_page(metrics))[0])
    return statistics.median(made), statistics.median(pages)


def official_page(metrics: list[sdk.Metric]) -> bytes:
    """The page that opentelemetry-exporter-prometheus makes."""
    scope = sdk.ScopeMetrics(InstrumentationScope("x"), metrics, "")
    collector = _CustomCollector(disable_target_info=True, scope_info_enabled=False)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    collector.add_metrics_data(sdk.MetricsData([sdk.ResourceMetrics(Resource({}), [scope], "")]))
    return generate_latest(registry)


def series_of(frames: list[Frame]) -> int:
    """Lines that the frames are on a page."""
    return sum(len(f) * (f.values.shape[1] + 2 if f.kind is Kind.HISTOGRAM else 1) for f in frames)


@contextmanager
def kernel_map(shape: Shape, count: int) -> Iterator[KernelMap]:
    """A real hash map with ``count`` entries. Raises `OSError` without rights."""
    key, columns = shape.key, shape.columns
    fd = opened(Command.MAP_CREATE, packed(MAP, 1, key.itemsize, columns * 8, max(64, count), 0))
    try:
        keys, values = keys_of(shape, count), RANDOM.integers(1, 100, (count, columns), np.uint64)
        opened(UPDATE_BATCH, packed(BATCH, 0, 0, keys.ctypes.data, values.ctypes.data, count, fd, 0, 0))
        yield KernelMap("bench", fd, key, shape.fields, max(64, count))
    finally:
        os.close(fd)


def kernel_read(shape: Shape, count: int) -> float | str:
    """Milliseconds to read a real map of that many entries, or why not."""
    try:
        with kernel_map(shape, count) as real:
            assert len(real.read()[0]) == count
            return statistics.median(clocked(real.read)[0] for _ in range(TICKS))
    except OSError as error:
        return error.strerror or "?"


def row(shape: Shape, series: int) -> list[object]:
    """One line of the table."""
    found, frames = measure(shape, series)
    objects, page = control(frames, runs=1 if series > 10_000 else 3)
    columns = [found[name] for name in ("first", "churn", *STEPS, "tick")]
    ratio = f"{(objects + page) / found['tick']:.1f}"
    return [shape.probe, series_of(frames), found["entries"], *columns, objects, page, ratio,
            kernel_read(shape, int(found["entries"]))]  # fmt: skip


def main() -> None:
    """Print the table."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    controls = ("sdk objects", "+ page", "ratio", "kernel map")
    heads = ("probe", "series", "entries", "first", "churn", *STEPS, "tick", *controls)
    rows = []
    for shape in SHAPES:
        for series in (100, 1_000, 10_000, 100_000):
            if series <= most:
                progress(f"  {shape.probe}, {series} series")
                rows.append(row(shape, series))
    print(table(heads, rows))


if __name__ == "__main__":
    main()
