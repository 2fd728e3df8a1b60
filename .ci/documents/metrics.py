# SPDX-License-Identifier: Apache-2.0
"""Metrics that no probe's YAML describes: the receiver's own, what `rate` adds, and the service's telemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ebpf_sidecar.exporters.prometheus import PrometheusExporter, PrometheusSettings
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.telemetry.ledger import COUNTERS, QUEUE_GAUGES, Instrument
from ebpf_sidecar.pipeline.testing import NOON, RecordedTelemetry, fake_context
from ebpf_sidecar.processors.percentages import PERCENTAGES
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import Moment
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.receiver import EbpfReceiver
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness
from ebpf_sidecar.receivers.ebpf.watch.overhead import Overhead
from ebpf_sidecar.receivers.ebpf.watch.program_frames import ProgramFrames
from ebpf_sidecar.receivers.ebpf.watch.self_frames import SelfFrames
from ebpf_sidecar.receivers.ebpf.watch.shedding import Shedding

from .probes import prometheus_name
from .text import block, code, codes, inline, table

_HEADER = ("OpenTelemetry name", "Prometheus name", "kind", "unit", "attributes", "meaning")


def receiver_frames() -> list[Frame]:
    """What the receiver says about its work, with one map, one hook and one reason, none of them in a kernel."""
    kernel_map = SimpleNamespace(max_entries=1, memory=lambda: 0, read=lambda: ([], []))
    drops = SimpleNamespace(reasons=("map",), read=lambda: {"map": 0})
    hooks, program = (HookStatus("p", "h", "n", "r"),), SimpleNamespace(name="n", missed=int, runs=lambda: (0, 0))
    loaded: Any = SimpleNamespace(maps={"map": kernel_map}, hooks=hooks, programs=(program,), drops=drops)
    moment = Moment(NOON, {})
    firing = {("p", "h"): Liveness(live=False)}
    own = SelfFrames(loaded, Path("/nonexistent"), NOON).frames(moment, {"map": 0}, coverage=1.0, firing=firing)
    programs = ProgramFrames(loaded, NOON, release=(6, 18), counting=True).frames(moment)
    probes: Any = (SimpleNamespace(name="p"),)
    shedding = Shedding(Overhead(0.01, (), 1, share=0.0), probes, lambda _: {}, print)
    return own + programs + shedding.frames(moment)


@block
def receiver_metrics() -> str:
    """Their table."""
    return _table(
        (frame.name, frame.unit, frame.kind, list(frame.rows.columns), frame.description) for frame in receiver_frames()
    )


@block
def added_by_rate() -> str:
    """The percentages that the processor `rate` makes."""
    found = [(each.name, each.description) for each in PERCENTAGES]
    found += [each.remainder for each in PERCENTAGES if each.remainder]
    return _table((name, "%", Kind.GAUGE, [], description) for name, description in sorted(found))


@dataclass
class _Published(RecordedTelemetry):
    """Remembers what gauges a component describes."""

    described: list[tuple[Instrument, Kind]] = field(default_factory=list)

    def observe(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        super().observe(name, unit, description, read)
        self.described.append((Instrument(name, unit, description), Kind.GAUGE))

    def count(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        super().count(name, unit, description, read)
        self.described.append((Instrument(name, unit, description), Kind.COUNTER))


def receiver_telemetry() -> list[tuple[Instrument, Kind]]:
    """What the eBPF receiver publishes about its readings."""
    telemetry = _Published()
    receiver = EbpfReceiver(EbpfSettings(), fake_context(ComponentKind.RECEIVER, "ebpf", telemetry=telemetry))
    loaded = SimpleNamespace(compile_seconds=0.0)
    nothing: Any = SimpleNamespace(loaded=loaded, rows_beyond_limit=int, forgotten_rows=int)
    receiver._publish(nothing)  # the only place where names, units and descriptions stand
    return telemetry.described


def exporter_telemetry() -> list[tuple[Instrument, Kind]]:
    """What the Prometheus exporter publishes about its page."""
    telemetry = _Published()
    PrometheusExporter(PrometheusSettings(), fake_context(ComponentKind.EXPORTER, "x", telemetry=telemetry)).start()
    return telemetry.described


@block
def own_telemetry() -> str:
    """The service's own counters and gauges."""
    shown = [(each, Kind.COUNTER) for each in COUNTERS] + [(each, Kind.GAUGE) for each in QUEUE_GAUGES]
    shown += [*receiver_telemetry(), *exporter_telemetry()]
    return _table((each.name, each.unit, kind, (), each.description) for each, kind in shown)


def _table(metrics: Iterable[tuple[str, str, Kind, Iterable[str], str]]) -> str:
    """Without the column of attributes where no metric has any."""
    rows = [
        (code(name), code(prometheus_name(name, unit, kind)), kind.value, code(unit), codes(attributes), inline(said))
        for name, unit, kind, attributes, said in metrics
    ]
    kept = [place for place, title in enumerate(_HEADER) if title != "attributes" or any(row[place] for row in rows)]
    return table([_HEADER[place] for place in kept], [[row[place] for place in kept] for row in rows])
