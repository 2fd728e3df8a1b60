# SPDX-License-Identifier: Apache-2.0
"""What an export and a scrape cost at 100 to 100,000 series, and what the official packages take for the same data.

    python bench/scrape.py [most series, default 100000]

Ten metrics (seven counters, two gauges, and a histogram of eight buckets, which is ten series) over rows with six
attributes, as a node's pods have them. Times in milliseconds, the median of several runs; memory in MiB as Python's
allocator sees it. "churn exp" is an export in which one row of a hundred is new, "again" a scrape without an export in
between. The controls get the same data in the same run: ready-made objects of the OpenTelemetry SDK through
opentelemetry-exporter-prometheus ("otel"), and prometheus_client's `generate_latest` alone on ready-made families
("client"); each ratio is the control's time over that of "text".
"""

import statistics
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
from measuring.printing import table
from measuring.timing import clocked
from opentelemetry.exporter.prometheus import _CustomCollector
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, generate_latest

from ebpf_sidecar.exporters.prometheus import FACTORY, PrometheusExporter
from ebpf_sidecar.pipeline import ComponentKind, ExplicitBuckets, Frame, Kind, RowSet, Text
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.testing import NOON, fake_context

SERIES_PER_ROW = 7 + 2 + 10
BOUNDS = np.array([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
RANDOM = np.random.default_rng(1)
TEXT, OPENMETRICS = (
    Request("GET", "/metrics", {}),
    Request("GET", "/metrics", {"accept": "application/openmetrics-text"}),
)
GZIP = Request("GET", "/metrics", {"accept-encoding": "gzip"})
CUMULATIVE = sdk.AggregationTemporality.CUMULATIVE


def rows(count: int, first: int = 0) -> RowSet:
    """Rows with six attributes; five executables in each container."""
    number = np.arange(first, first + count)
    columns = {
        "k8s.namespace.name": Text.of(f"namespace-{n // 100}" for n in number),
        "k8s.pod.name": Text.of(f"application-{n // 10}-5d4f8c7b9-x{n // 5:04d}" for n in number),
        "k8s.container.name": Text.of(f"container-{n // 5 % 3}" for n in number),
        "k8s.node.name": Text.constant("node-1.example", count),
        "container.id": Text.of(f"{n // 5:064x}" for n in number),
        "process.executable.name": Text.of(f"executable-{n % 5}" for n in number),
    }
    return RowSet(number.astype(np.uint64), columns)


def frames(over: RowSet, tick: int) -> list[Frame]:
    """Values of one tick."""
    size, when = len(over), {"time_unix_nano": NOON + tick * 10**9, "start_time_unix_nano": NOON}
    counters = [
        Frame(f"ebpf.bench.counter_{c}", Kind.COUNTER, over, RANDOM.integers(0, 10**7, size).astype(np.uint64), **when)
        for c in range(7)
    ]
    gauges = [
        Frame(f"ebpf.bench.gauge_{g}", Kind.GAUGE, over, 100 * RANDOM.random(size), unit="%", **when) for g in range(2)
    ]
    buckets = RANDOM.integers(0, 10**4, (size, len(BOUNDS) + 1)).astype(np.uint64)
    parts = {"unit": "s", "buckets": ExplicitBuckets(BOUNDS), "sums": RANDOM.random(size)}
    return [*counters, *gauges, Frame("ebpf.bench.duration", Kind.HISTOGRAM, over, buckets, **parts, **when)]


def exporter() -> PrometheusExporter:
    """A fresh exporter whose page is not limited."""
    limit = {"series": 1_000_000, "size": "1GiB"}
    settings = FACTORY.settings(page_limit=limit, fold_beyond=None)
    return PrometheusExporter(settings, fake_context(ComponentKind.EXPORTER, "prometheus"))


def milliseconds(work: Callable[[int], object], runs: int = 5) -> float:
    """The median time of ``work``, which gets the run's number."""
    return statistics.median(clocked(partial(work, run))[0] for run in range(runs))


def measure(count: int) -> dict[str, float]:
    """All numbers for ``count`` rows."""
    over, made = rows(count), exporter()
    churned = [rows(count, first=max(1, count // 100) * (tick + 1)) for tick in range(5)]
    ticks = [frames(over, tick) for tick in range(7)]
    shifted = [frames(other, 10 + tick) for tick, other in enumerate(churned)]
    found = {"first": milliseconds(lambda _: made.export(ticks[0]), 1)}
    found["export"] = milliseconds(lambda run: made.export(ticks[1 + run]))

    def scrape(request: Request) -> float:
        made.export(ticks[6])  # so that nothing is kept from the scrape before
        return clocked(partial(made.scrape, request))[0]

    for name, request in {"text": TEXT, "om": OPENMETRICS, "gzip": GZIP}.items():
        found[name] = statistics.median(scrape(request) for _ in range(5))
    found["again"] = milliseconds(lambda _: made.scrape(TEXT))
    found["churn"] = milliseconds(lambda run: made.export(shifted[run]))
    return found


def memory(count: int) -> tuple[float, float]:
    """MiB that an exporter holds beyond the frames themselves: without and with a rendered page."""
    over, made = rows(count), exporter()
    ticks = [frames(over, tick) for tick in range(2)]
    tracemalloc.start()
    for tick in ticks:
        made.export(tick)
    held = tracemalloc.get_traced_memory()[0]
    made.scrape(TEXT)
    page = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / 2**20, page / 2**20


def sdk_metric(frame: Frame, records: list[dict[str, str]]) -> sdk.Metric:
    """A frame as the SDK's objects."""
    if frame.kind is Kind.HISTOGRAM:
        values = zip(records, frame.values.tolist(), frame.sums.tolist(), strict=True)
        bounds = frame.bounds.tolist()
        found = [sdk.HistogramDataPoint(r, 0, NOON, sum(v), s, v, bounds, 0, 0) for r, v, s in values]
        return sdk.Metric(frame.name, "", frame.unit, sdk.Histogram(found, CUMULATIVE))
    points = [sdk.NumberDataPoint(r, 0, NOON, v) for r, v in zip(records, frame.values.tolist(), strict=True)]
    data = sdk.Sum(points, CUMULATIVE, is_monotonic=True) if frame.kind is Kind.COUNTER else sdk.Gauge(points)
    return sdk.Metric(frame.name, "", frame.unit, data)


class Ready:
    """Families that were collected already."""

    def __init__(self, families: list) -> None:
        self._families = families

    def collect(self) -> list:
        """The families."""
        return self._families


def control(count: int, runs: int) -> tuple[float, float]:
    """opentelemetry-exporter-prometheus from ready SDK objects, and `generate_latest` alone, in milliseconds."""
    over = rows(count)
    records = over.records()
    scope = sdk.ScopeMetrics(InstrumentationScope("x"), [sdk_metric(f, records) for f in frames(over, 0)], "")
    data = sdk.MetricsData([sdk.ResourceMetrics(Resource({}), [scope], "")])
    collector = _CustomCollector(disable_target_info=True, scope_info_enabled=False)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)

    def official(_: int) -> None:
        collector.add_metrics_data(data)
        generate_latest(registry)

    collector.add_metrics_data(data)
    ready = CollectorRegistry(auto_describe=False)
    ready.register(Ready(list(collector.collect())))
    return milliseconds(official, runs), milliseconds(lambda _: generate_latest(ready), runs)


def line_of(count: int) -> list[object]:
    """A line of the table, for that many rows."""
    found, held = measure(count), memory(count)
    otel, client = control(count, runs=3)
    ours = [found[key] for key in ("first", "export", "churn", "text", "om", "gzip", "again")]
    return [count * SERIES_PER_ROW, *ours, otel, otel / found["text"], client, client / found["text"], *held]


def main() -> None:
    """Print the table."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    heads = ["series", "first exp", "export", "churn exp", "text", "openmetrics", "text+gzip", "again", "otel", "ratio"]
    sizes = [series for series in (100, 1_000, 10_000, 100_000) if series <= most]
    heads += ["client", "ratio", "MiB", "MiB+page"]
    print(table(heads, [line_of(max(1, each // SERIES_PER_ROW)) for each in sizes]))


if __name__ == "__main__":
    main()
