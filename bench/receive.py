# SPDX-License-Identifier: Apache-2.0
"""What receiving metrics by OTLP costs, compared with the official classes that only parse the same bytes.

    python bench/receive.py

``parse``: ``ExportMetricsServiceRequest.FromString``, which leaves the values inside the messages. ``known rows``: to
frames, as in every request but a sender's first. ``new rows``: the first one. Nanoseconds per point, the least of the
rounds, which take turns; a histogram is one point.
"""

import time
from collections.abc import Callable

from measuring.printing import table
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from ebpf_sidecar.pipeline.clock import SystemClock
from ebpf_sidecar.pipeline.testing import NOON
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 7
BOUNDS = [0.001 * 2**number for number in range(12)]


def request_of(size: int, kind: str) -> bytes:
    """A request with ``size`` points of containers with eight executables each."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="ebpf.work.done", unit="By")
    data = getattr(metric, kind)
    data.aggregation_temporality = 2
    if kind == "sum":
        data.is_monotonic = True
    for number in range(size):
        point = data.data_points.add(start_time_unix_nano=NOON - 10**9, time_unix_nano=NOON)
        _describe(point, number)
        if kind == "sum":
            point.as_int = number * 1_000
        else:
            point.count, point.sum = len(BOUNDS) + 1, float(number)
            point.explicit_bounds.extend(BOUNDS)
            point.bucket_counts.extend([1] * (len(BOUNDS) + 1))
    return request.SerializeToString()


def _describe(point: object, number: int) -> None:
    attributes = {
        "container.id": f"{number // 8:064x}",
        "k8s.pod.name": f"web-{number // 8:08x}",
        "process.executable.name": f"program-{number % 8}",
        "operation": "read",
    }
    for name, value in attributes.items():
        point.attributes.add(key=name).value.string_value = value  # type: ignore[attr-defined] # any kind of point


def nanoseconds(work: Callable[[], object], points: int) -> float:
    """Per point."""
    started = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started) / points


def measured(size: int, kind: str, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """``parse``, ``known rows`` and ``new rows``."""
    body, clock = request_of(size, kind), SystemClock()
    decoder = RequestDecoder(clock)
    decoder.decode(body)
    works = (
        lambda: ExportMetricsServiceRequest.FromString(body),
        lambda: decoder.decode(body),
        lambda: RequestDecoder(clock).decode(body),
    )
    times = [[nanoseconds(work, size) for work in works] for _ in range(rounds)]
    parse, known, new = (min(column) for column in zip(*times, strict=True))
    return parse, known, new


def main() -> None:
    """Print the table."""
    rows = []
    for kind in ("sum", "histogram"):
        for size in SIZES:
            parse, known, new = measured(size, kind)
            times = [f"{each:,.0f}" for each in (parse, known, new, 1e9 / known)]
            rows.append([kind, f"{size:,}", *times[:2], f"{known / parse:.1f}", *times[2:]])
    header = ["kind", "points", "parse", "known rows", "ratio", "new rows", "points/s, known rows"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
