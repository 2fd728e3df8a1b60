# SPDX-License-Identifier: Apache-2.0
"""What exporting over OTLP/gRPC costs at 1,000 to 100,000 points, and what the official exporter takes for the same.

    python bench/otlp.py

Twelve counters, two gauges and a histogram of eleven buckets, over as many processes in containers as make that many
points. "encode": nanoseconds a point from frames, or from the SDK's own objects, to the bytes of requests, with rows
that stay as they are; "new rows": the first batch of a row set. "send": encode, and deliver to a server that answers at
once, in another process. All are medians; "ratio": the official exporter over ours.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import grpc
import numpy as np
from measuring.printing import progress, table
from measuring.timing import clocked
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ebpf_sidecar.exporters.otlp import OtlpExporter
from ebpf_sidecar.exporters.otlp_encoding.encoder import Encoder
from ebpf_sidecar.exporters.otlp_encoding.request import RequestLimits
from ebpf_sidecar.exporters.otlp_transport.settings import OtlpGrpcSettings
from ebpf_sidecar.pipeline import ComponentKind, Frame, Frames, Kind, Payload, RowSet
from ebpf_sidecar.pipeline.testing import NOON, fake_context, frame

SIZES = (1_000, 10_000, 100_000)
COUNTERS, GAUGES = 12, 2
BOUNDS = [1e-6 * 4.0**n for n in range(10)]
LIMIT = 4 << 20
ROUNDS = {1_000: 60, 10_000: 15, 100_000: 5}


def rows(points: int) -> RowSet:
    """Processes in containers."""
    number = points // (COUNTERS + GAUGES + 1)
    return RowSet.of(
        [
            {"container.id": f"{row // 5:064x}", "process.executable.name": f"program-{row % 200}"}
            for row in range(number)
        ]
    )


def batch(over: RowSet, tick: int) -> list[Frame]:
    """The frames of a tick."""
    random, size = np.random.default_rng(tick), len(over)
    when = {"time_unix_nano": NOON + tick * 10**10}
    counting = {**when, "start_time_unix_nano": NOON}
    buckets = random.integers(0, 10**4, (size, len(BOUNDS) + 1))
    return [
        *(
            frame(f"ebpf.count.{n}", random.integers(0, 10**9, size), over, unit="By", **counting)
            for n in range(COUNTERS)
        ),
        *(frame(f"ebpf.level.{n}", random.random(size), over, kind=Kind.GAUGE, **when) for n in range(GAUGES)),
        frame("ebpf.wait", buckets, over, unit="s", bounds=BOUNDS, sums=random.random(size), **counting),
    ]


def as_sdk(frames: Frames) -> sdk.MetricsData:
    """The same points as the objects that the official exporter takes."""
    metrics = [sdk.Metric(each.name, each.description, each.unit, _data(each)) for each in frames]
    scope = sdk.ScopeMetrics(InstrumentationScope("ebpf_sidecar"), metrics, "")
    return sdk.MetricsData([sdk.ResourceMetrics(Resource({}), [scope], "")])


def _data(each: Frame) -> sdk.Gauge | sdk.Sum | sdk.Histogram:
    records, values, cumulative = each.rows.records(), each.values.tolist(), sdk.AggregationTemporality.CUMULATIVE
    pairs = zip(records, values, strict=True)
    if each.kind is not Kind.HISTOGRAM:
        points = [sdk.NumberDataPoint(record, NOON, each.time_unix_nano, value) for record, value in pairs]
        return sdk.Gauge(points) if each.kind is Kind.GAUGE else sdk.Sum(points, cumulative, is_monotonic=True)
    waits = [
        sdk.HistogramDataPoint(
            record,
            NOON,
            each.time_unix_nano,
            sum(value),
            1.0,
            bucket_counts=value,
            explicit_bounds=BOUNDS,
            min=0,
            max=0,
        )
        for record, value in pairs
    ]
    return sdk.Histogram(waits, cumulative)


def points_of(data: sdk.MetricsData) -> int:
    """How many points the official encoder makes of the objects."""
    request = encode_metrics(data)
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    return sum(len(getattr(each, str(each.WhichOneof("data"))).data_points) for each in metrics)


@contextmanager
def server() -> Iterator[int]:
    """The port of a server in another process, which takes anything and answers at once."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
        generic = type("Any", (grpc.GenericRpcHandler,), {"service": lambda _self, _details: handler})()
        listening = grpc.server(ThreadPoolExecutor(2), [generic], options=[("grpc.max_receive_message_length", -1)])
        port = listening.add_insecure_port("127.0.0.1:0")
        listening.start()
        os.write(writing, str(port).encode())
        listening.wait_for_termination()
        sys.exit()
    try:
        yield int(os.read(reading, 10))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def deliver(exporter: OtlpExporter, frames: Frames) -> None:
    """Encode and send."""
    for part in exporter.encode(frames):
        if isinstance(part, Payload):
            exporter.send(part)


def encode(encoder: Encoder, frames: Frames) -> int:
    """Encode, and say how many bytes that makes."""
    return sum(len(body) for body, _ in encoder.requests(frames))


def nanoseconds(points: int, works: list[Callable[[], object]]) -> float:
    """The median of the calls, a point."""
    return statistics.median(clocked(work)[0] for work in works) * 1e6 / points


def measured(size: int, port: int) -> list[object]:
    """A line of the table."""
    over = rows(size)
    ticks = [batch(over, tick) for tick in range(1, ROUNDS[size] + 1)]
    points = sum(map(len, ticks[0]))
    progress(f"{size} points")
    objects = [as_sdk(frames) for frames in ticks[:3]]
    encoder = Encoder(RequestLimits(LIMIT))
    first = nanoseconds(
        points, [partial(encode, Encoder(RequestLimits(LIMIT)), batch(rows(size), 0)) for _ in range(3)]
    )
    encode(encoder, batch(over, 0))
    ours = nanoseconds(points, [partial(encode, encoder, frames) for frames in ticks])
    theirs = nanoseconds(points, [lambda each=each: encode_metrics(each).SerializeToString() for each in objects])
    exporter = OtlpExporter(
        OtlpGrpcSettings(endpoint=f"http://127.0.0.1:{port}", timeout="60s"),
        fake_context(ComponentKind.EXPORTER, "otlp"),
    )
    official = OTLPMetricExporter(f"http://127.0.0.1:{port}", insecure=True, timeout=60)
    deliver(exporter, batch(over, 0))
    official.export(objects[0])
    sent = nanoseconds(points, [partial(deliver, exporter, frames) for frames in ticks])
    theirs_sent = nanoseconds(points, [partial(official.export, each) for each in objects])
    exporter.shutdown()
    official.shutdown()
    return [f"{points:,}", first, ours, theirs, theirs / ours, sent, theirs_sent, theirs_sent / sent]


def main() -> None:
    """Print the table."""
    heads = ["points", "new rows", "encode", "official", "ratio", "send", "official", "ratio"]
    with server() as port:
        print(table(heads, [measured(size, port) for size in SIZES]))


if __name__ == "__main__":
    main()
