# SPDX-License-Identifier: Apache-2.0
"""The catalogue has every metric of the product, and agrees with its frames."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from ebpf_sidecar.exporters.prometheus import PrometheusExporter, PrometheusSettings
from ebpf_sidecar.pipeline.cli.commands import cli
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue
from ebpf_sidecar.pipeline.testing import NOON, RecordedTelemetry, fake_context, frame
from ebpf_sidecar.processors.memory_limiter import MemoryLimiter, MemoryLimiterSettings
from ebpf_sidecar.processors.rate import RateProcessor, RateSettings
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.receiver import EbpfReceiver
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness
from ebpf_sidecar.receivers.ebpf.watch.overhead import Overhead
from ebpf_sidecar.receivers.ebpf.watch.program_frames import ProgramFrames
from ebpf_sidecar.receivers.ebpf.watch.self_frames import SelfFrames
from ebpf_sidecar.receivers.ebpf.watch.shedding import Shedding
from ebpf_sidecar.receivers.otlp_serving.export_service import ExportService

METRICS = {metric.name: metric for metric in catalogue(Plugins())}


def described(frames):
    """What frames say about their metrics."""
    return {(each.name, each.kind, each.unit, each.description, tuple(each.rows.columns)) for each in frames}


def catalogued(frames):
    """Their entries in the catalogue. KeyError for a metric that it does not have."""
    known = [METRICS[each.name] for each in frames]
    return {(each.name, each.kind, each.unit, each.description, each.attributes) for each in known}


def test_no_name_is_used_twice():
    """Two components that made the same metric would mix their rows."""
    names = Counter(metric.name for metric in catalogue(Plugins()))

    assert [] == [name for name, number in names.items() if number > 1]


def test_every_metric_has_its_description_and_its_maker():
    """Nothing is left out where dashboards and rules are made from it."""
    missing = [each.name for each in METRICS.values() if not (each.description and each.made_by and each.since)]

    assert [] == missing


def test_it_has_what_the_receiver_reports_about_its_own_work():
    """With one map, one hook and one reason, none of them in a kernel."""
    kernel_map = SimpleNamespace(max_entries=1, memory=lambda: 0, read=lambda: ([], []))
    drops = SimpleNamespace(reasons=("map",), read=lambda: {"map": 0})
    hooks, program = (HookStatus("p", "h", "n", "r"),), SimpleNamespace(name="n", missed=int, runs=lambda: (0, 0))
    loaded = SimpleNamespace(maps={"map": kernel_map}, hooks=hooks, programs=(program,), drops=drops)
    reading_time, firing = ReadingTime(NOON, {}), {("p", "h"): Liveness(live=False)}
    frames = SelfFrames(loaded, Path("/nonexistent"), NOON).frames(
        reading_time, {"map": 0}, coverage=1.0, firing=firing
    )
    frames += ProgramFrames(loaded, NOON, release=(6, 18), counting=True).frames(reading_time)
    frames += Shedding(Overhead(0.01, (), 1, share=0.0), (SimpleNamespace(name="p"),), lambda _: {}, print).frames(
        reading_time
    )
    own = {name for name, each in METRICS.items() if each.made_by == "receiver ebpf" and name.startswith("ebpf.")}

    assert described(frames) == catalogued(frames)
    assert own == {each.name for each in frames}


def test_it_has_every_metric_of_every_probe():
    """Under the probe's name, with the attributes that the metric has of its own."""
    for path in find_probes(Plugins().probe_folders()).values():
        probe = read_probe(path)
        for metric in probe.metrics:
            known = METRICS[metric.name]

            assert (f"probe {probe.name}", metric.unit, metric.reading) == (known.made_by, known.unit, known.meaning)
            assert {each.name for each in metric.attributes} <= {*known.attributes}


def test_it_has_what_the_rate_processor_adds():
    """All percentages, from counters that grow."""
    processor = RateProcessor(RateSettings(), fake_context(ComponentKind.PROCESSOR, "rate"))
    names = [name for name, each in METRICS.items() if each.kind is Kind.COUNTER]
    for number in (1, 2):
        made = processor.process(
            [frame(name, [number], time_unix_nano=NOON + number, monotonic_nano=number) for name in names]
        )
    added = [each for each in made if each.name not in names]

    assert described(added) == catalogued(added)
    assert {name for name, each in METRICS.items() if each.made_by == "processor rate"} == {each.name for each in added}


class Published(RecordedTelemetry):
    """Records the descriptions of a component's telemetry."""

    def __init__(self):
        super().__init__()
        self.reported = set()

    def observe(self, name, unit, description, read):
        self.reported.add((name, Kind.GAUGE, unit, description))

    def count(self, name, unit, description, read):
        self.reported.add((name, Kind.COUNTER, unit, description))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("exporter prometheus", lambda context: PrometheusExporter(PrometheusSettings(), context).start()),
        ("processor memory_limiter", lambda context: MemoryLimiter(
            MemoryLimiterSettings(limit_mib=100), context).start()),
        ("receiver ebpf", lambda context: EbpfReceiver(EbpfSettings(), context)._publish(SimpleNamespace(
            loaded=SimpleNamespace(compile_seconds=0.0), rows_beyond_limit=int, forgotten_rows=int, losses=dict))),
        ("receiver otlp", lambda context: ExportService(context, print)),
    ],
)  # fmt: skip
def test_it_has_what_components_publish_about_themselves(kind, make):
    """The receiver's readings, and how full the page is."""
    telemetry = Published()
    make(fake_context(ComponentKind(kind.split()[0]), kind.split()[1], telemetry=telemetry))
    known = [each for each in METRICS.values() if each.made_by == kind and each.name.startswith("ebpf_sidecar.")]

    assert telemetry.reported == {(each.name, each.kind, each.unit, each.description) for each in known}


def test_a_command_lists_it():
    """As a table and as JSON, with the third parties' that are installed."""
    table = CliRunner().invoke(cli, ["components", "--metrics"]).output.splitlines()
    listed = json.loads(CliRunner().invoke(cli, ["components", "--metrics", "--json"]).output)

    assert ["METRIC", "KIND", "UNIT", "MADE", "BY", "DESCRIPTION"] == table[0].split()
    assert list(METRICS) == [line.split()[0] for line in table[1:]] == [each["name"] for each in listed]
    assert {"name", "kind", "unit", "description", "attributes", "made_by", "since", "meaning"} == set(listed[0])
