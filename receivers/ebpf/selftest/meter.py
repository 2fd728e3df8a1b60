# SPDX-License-Identifier: Apache-2.0
"""Reads the probes' counts as the receiver does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.component import MapCleanup
from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.rows import Text
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime
from ebpf_sidecar.receivers.ebpf.frames.reading import Reading, reading_of
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.owners.attribution import ATTRIBUTES, Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

from .case import Case

OWNER = ATTRIBUTES[GroupBy.EXECUTABLE]
_MAX_ROWS = 100_000

Counted = Mapping[str, Frame]
"""The frames of one reading by metric, without metrics that have no row."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads loaded probes; rows are grouped by the name of the executable."""

    reading: Reading
    clock: Clock

    def read(self) -> Counted:
        """All metrics now. Raises `ProbeError`."""
        self.reading.update(self.clock.monotonic())
        return {frame.name: frame for frame in self.reading.frames(ReadingTime(self.clock.time_ns(), {}))}


def meter_of(probes: Sequence[Probe], loaded: LoadedProbes, hierarchy: Hierarchy, clock: Clock) -> Meter:
    """The meter of loaded probes."""
    attribution = Attribution(CgroupTree(hierarchy), (GroupBy.EXECUTABLE,))
    start = clock.time_ns()
    return Meter(reading_of(probes, loaded, attribution, start=start, cleanup=MapCleanup(), limit=_MAX_ROWS), clock)


def measured(case: Case, counted: Counted, owner: str, disks: Sequence[str]) -> float:
    """The case's value in a reading: of the rows of ``owner``, or for ``machine`` of those of ``disks``."""
    frame = counted.get(case.metric)
    if frame is None:
        return 0.0
    chosen = _rows(frame, case.attributes)
    chosen &= _rows(frame, {OWNER: owner}) if case.whose == "workload" else _any_of(frame, "device", disks)
    values = frame.sums if frame.kind is Kind.HISTOGRAM and case.value == "sum" else frame.values
    assert values is not None  # a histogram has sums
    return float(values[chosen].sum())


def _rows(frame: Frame, attributes: Mapping[str, str]) -> NDArray[np.bool_]:
    found = np.ones(len(frame), bool)
    for name, word in attributes.items():
        found &= _any_of(frame, name, [word])
    return found


def _any_of(frame: Frame, attribute: str, words: Sequence[str]) -> NDArray[np.bool_]:
    column = frame.rows.columns[attribute]
    texts = column.strings() if isinstance(column, Text) else map(str, column.tolist())
    return np.array([text in words for text in texts], bool)
