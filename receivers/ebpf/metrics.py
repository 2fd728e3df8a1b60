# SPDX-License-Identifier: Apache-2.0
"""Every metric of the receiver: those that the probes' YAML describes, and those about its own work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.metric_info import MetricInfo, counter, gauge
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import Metric, Probe, Spread
from ebpf_sidecar.receivers.ebpf.watch.program_frames import MISSED_RUNS, RUN_TIME, RUNS
from ebpf_sidecar.receivers.ebpf.watch.self_frames import FRAMES
from ebpf_sidecar.receivers.ebpf.watch.shedding import OVERHEAD, SHED

DURATION = gauge("ebpf_sidecar.receiver.collection_duration", "s", "Time that the last reading took", "component")
MISSED = counter("ebpf_sidecar.receiver.missed_intervals", "{interval}", "Readings that were late", "component")
LOADING_TOOK = gauge(
    "ebpf_sidecar.receiver.load_duration", "s", "Time to compile the probes, or to find them", "component"
)
OVERFLOWED = gauge(
    "ebpf_sidecar.receiver.overflowed_groups",
    "{group}",
    "Groups of rows beyond max_rows, which share one row",
    "component",
)
FORGOTTEN = counter(
    "ebpf_sidecar.receiver.forgotten_rows",
    "{row}",
    "Rows that were dropped after an hour without a change; they restart from zero when they return",
    "component",
)
TELEMETRY = (DURATION, MISSED, LOADING_TOOK, OVERFLOWED, FORGOTTEN)
OWN = (*FRAMES, MISSED_RUNS, RUNS, RUN_TIME, SHED, OVERHEAD)


def metrics(folders: Sequence[Path]) -> Iterator[MetricInfo]:
    """The metrics of all probes in these folders, then the receiver's own; unreadable probes are skipped."""
    for path in find_probes(folders).values():
        try:
            probe = read_probe(path)
        except SidecarError:
            continue  # "check" and "doctor" report why
        yield from (_info(metric, probe) for metric in probe.metrics)
    yield from (*OWN, *TELEMETRY)


def _info(metric: Metric, probe: Probe) -> MetricInfo:
    """Without the attributes of `group_by`, which every metric of a probe has."""
    spread = (metric.value.attribute,) if isinstance(metric.value, Spread) else ()
    return MetricInfo(
        metric.name,
        Kind(metric.kind),
        metric.unit,
        metric.description,
        (*(attribute.name for attribute in metric.attributes), *spread),
        made_by=f"probe {probe.name}",
        meaning=metric.reading,
    )
