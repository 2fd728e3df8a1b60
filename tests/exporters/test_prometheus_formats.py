# SPDX-License-Identifier: Apache-2.0
"""What the exporter writes is what others read: golden pages, strict parsers, and OpenTelemetry's own exporter."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.prometheus import _CustomCollector
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from strategies import frames, row_sets

from ebpf_sidecar.exporters.exposition.labels import label_block
from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.testing import NOON, fake_context, frame

DATA = Path(__file__).parents[1] / "data"
ROWS = RowSet.of(
    [
        {"k8s.pod.name": "web-1", "process.executable.name": "nginx", "process.pid": 7},
        {"k8s.pod.name": "", "process.executable.name": 'a "quoted"\\name\nin two lines', "process.pid": 4194304},
        {"k8s.pod.name": "café-😀", "process.executable.name": "bad\udcffbyte", "process.pid": 1},
    ]
)
SAMPLE = (
    frame("ebpf.cache.misses", [0, 5, 2**64 - 1], ROWS, unit="{page}", description="Pages brought in"),
    frame("ebpf.cache.hit_rate", [99.5, float("nan"), 100 / 3], ROWS, kind=Kind.GAUGE, unit="%", description="Hits"),
    frame("ebpf.syscall.io", [1, 2, 3], ROWS, unit="By", description='With "quotes", a \\ and\na newline'),
    frame("ebpf.queue.depth", [-1, 0, 1e9], ROWS, kind=Kind.UPDOWNCOUNTER, unit="{request}"),
    frame(
        "ebpf.block.io.duration",
        [[1, 2, 0, 4], [0, 0, 0, 0], [2**40, 0, 0, 1]],
        ROWS,
        bounds=[1e-6, 0.001, 10],
        sums=[40.25, 0, 12.5],
        unit="s",
        description="Time from issue to completion",
    ),
)
RESOURCE = {"service.name": "ebpf-sidecar", "host.name": "node-1"}


def exporter(**config):
    """An exporter over recorded routes."""
    return FACTORY.create(
        FACTORY.settings(**config), fake_context(ComponentKind.EXPORTER, "prometheus", resource=RESOURCE)
    )


def page(exported, openmetrics, **config):
    """The page of these frames."""
    made = exporter(**config)
    made.start()
    made.export(exported)
    headers = {"accept": "application/openmetrics-text"} if openmetrics else {}
    return made._context.routes.get("/metrics", headers).body.decode()


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("labels", ["semantic", "short"])
def test_the_page_is_the_golden_one(golden, openmetrics, labels):
    """Every kind, nasty text, both formats, both ways to name labels."""
    ending = "openmetrics" if openmetrics else "txt"

    golden(DATA / f"prometheus_{labels}.{ending}", page(SAMPLE, openmetrics, label_names=labels))


def read(parse, text):
    """Every sample by name and labels, as text so that NaN equals itself; each must be there once."""
    found = [
        (
            (sample.name, frozenset((k, canonical(k, v)) for k, v in sample.labels.items() if v)),
            repr(float(sample.value)),
        )
        for family in parse(text)
        for sample in family.samples
        if not sample.name.startswith("target_info")
    ]
    assert not [series for series, count in Counter(series for series, _ in found).items() if count > 1]
    return dict(found)


def canonical(label, value):
    """OpenTelemetry's exporter writes bounds as Python does."""
    return repr(float(value)) if label == "le" else value


def sdk_metric(exported):
    """A frame as the SDK's objects; of rows that are alike, the last, since a page can hold only one."""
    rows = {label_block({k: str(v) for k, v in record.items()}): n for n, record in enumerate(exported.rows.records())}
    starts, time = exported.start_times().tolist(), exported.time_unix_nano
    points = []
    for position in rows.values():
        attributes = {k: clean(v) for k, v in exported.rows.records()[position].items()}
        value = exported.values[position].tolist()
        if exported.kind is Kind.HISTOGRAM:
            total = exported.sums[position].item()
            points.append(
                sdk.HistogramDataPoint(
                    attributes, starts[position], time, sum(value), total, value, exported.bounds.tolist(), 0, 0
                )
            )
        else:
            points.append(sdk.NumberDataPoint(attributes, starts[position], time, value))
    cumulative = sdk.AggregationTemporality.CUMULATIVE
    data = {
        Kind.COUNTER: lambda: sdk.Sum(points, cumulative, True),
        Kind.UPDOWNCOUNTER: lambda: sdk.Sum(points, cumulative, False),
        Kind.GAUGE: lambda: sdk.Gauge(points),
        Kind.HISTOGRAM: lambda: sdk.Histogram(points, cumulative),
    }[exported.kind]()
    return sdk.Metric(exported.name, "", exported.unit, data)


def clean(text):
    """The SDK's exporter cannot write halves of surrogate pairs at all."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def opentelemetry_page(exported):
    """The same metrics as opentelemetry-exporter-prometheus writes them."""
    collector = _CustomCollector(disable_target_info=True, scope_info_enabled=False)
    scope = sdk.ScopeMetrics(InstrumentationScope("x"), [sdk_metric(each) for each in exported], "")
    collector.add_metrics_data(sdk.MetricsData([sdk.ResourceMetrics(Resource({}), [scope], "")]))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry).decode()


# Deliberate differences, kept out of the data: opentelemetry-exporter-prometheus writes no "_ratio" for "1" (the
# specification does), overwrites colliding labels (the specification joins them), cannot do without the label "le",
# and appends a unit that the name holds in another place.
ALIKE_NAMES = st.from_regex(r"[a-z]{1,6}(\.[a-z]{1,8}){0,2}", fullmatch=True)
ALIKE_ROWS = row_sets(names=st.sampled_from(["k8s.pod.name", "container.id", "device", "error.type", "a.b"]))


@st.composite
def alike_frames(draw):
    """Frames on which both exporters should agree, no two of one name."""
    drawn = draw(st.lists(frames(rows=ALIKE_ROWS, name=ALIKE_NAMES).filter(lambda f: f.unit != "1"), max_size=4))
    return [frame_named(each, f"m{number}x.{each.name}") for number, each in enumerate(drawn)]


def frame_named(exported, name):
    """The same frame with another name."""
    parts = {part: getattr(exported, part) for part in exported.__dataclass_fields__}
    return type(exported)(**{**parts, "name": name})


@given(alike_frames())
@settings(max_examples=2 * settings.default.max_examples)
def test_both_formats_parse_to_what_opentelemetrys_own_exporter_writes(exported):
    """The official package is the oracle, prometheus_client's parsers the judges."""
    official = read(parse_text, opentelemetry_page(exported))

    assert official == read(parse_text, page(exported, False))
    assert official == read(parse_openmetrics, page(exported, True))


@given(st.lists(frames(), max_size=5), st.booleans(), st.booleans())
@settings(max_examples=2 * settings.default.max_examples)
def test_whatever_is_exported_both_pages_parse_and_agree(exported, short, suffixes):
    """Clashing names, nasty attributes, rows that collapse: no page is ever unreadable."""
    config = {"label_names": "short" if short else "semantic", "send_timestamps": True, "created_timestamps": True}
    text = read(parse_text, page(exported, False, **config))
    openmetrics = read(parse_openmetrics, page(exported, True, **config))

    assert text == {series: value for series, value in openmetrics.items() if not series[0].endswith("_created")}
    if suffixes:
        return
    read(parse_openmetrics, page(exported, True, add_metric_suffixes=False, **config))


def test_deltas_parse_to_the_totals():
    """Three times as much happened."""
    made = exporter()
    made.start()
    for second in range(3):
        made.export([frame("work", [2], temporality=Temporality.DELTA, time_unix_nano=NOON + second * 10**9)])

    assert {("work_total", frozenset()): "6.0"} == read(parse_text, made._context.routes.get("/metrics").body.decode())
