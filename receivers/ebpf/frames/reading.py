# SPDX-License-Identifier: Apache-2.0
"""Reads all maps of the loaded probes together and makes frames of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.component import MapCleanup
from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.rows import RowSet, Text, once_per_row_set
from ebpf_sidecar.receivers.ebpf.maps.cleanup import Cleaning
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.maps.map_totals import MapTotals, View
from ebpf_sidecar.receivers.ebpf.owners.attribution import ATTRIBUTES, Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import UNKNOWN
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute, Distinct, Metric, Probe

from .decoders import Decoders
from .metric_frames import ReadingTime, ToFrame, frame_maker, positions, view_of

_CGROUP = ATTRIBUTES[GroupBy.CGROUP]


@dataclass(frozen=True, slots=True)
class MetricView:
    """A metric: the totals and the view that it is made from, and how."""

    map_totals: MapTotals
    view: int
    make: ToFrame

    def frame(self, reading_time: ReadingTime) -> Frame:
        """The metric's current frame."""
        return self.make(self.map_totals.snapshot(self.view), reading_time)


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads all maps and makes the frames of all metrics that are available."""

    all_totals: Mapping[str, MapTotals]
    metric_views: Sequence[MetricView]
    cleaning: Cleaning
    attribution: Attribution

    def update(self, now: float, time: int = 0, *, ahead: bool = False) -> None:
        """Read every map once, and clean up if due. Raises `ProbeError`.

        ``now``: monotonic seconds; ``time``: the same time in ns since the epoch; ``ahead``: whether that is ahead of
        the wall clock.
        """
        all_totals = list(self.all_totals.values())
        self.cleaning.before_reading(all_totals, now)
        keys = [map_totals.update(now, time, ahead=ahead) for map_totals in all_totals]
        self.cleaning.after_reading(all_totals, keys)
        self.attribution.forget_names(lambda: chain.from_iterable(map_totals.groups() for map_totals in all_totals))

    def follow(self, cleanup: MapCleanup) -> None:
        """Follow this policy from the next update on; rows and totals stay."""
        if cleanup != self.cleaning.policy:
            self.cleaning.policy = cleanup
            for map_totals in self.all_totals.values():
                map_totals.stale_after = _stale_after(cleanup)

    def without(self, maps: Collection[str]) -> Reading:
        """The same without these maps (by published name) and what is made from them."""
        gone = [id(self.all_totals[name]) for name in maps if name in self.all_totals]
        return replace(
            self,
            all_totals={name: map_totals for name, map_totals in self.all_totals.items() if name not in maps},
            metric_views=[
                metric_views for metric_views in self.metric_views if id(metric_views.map_totals) not in gone
            ],
        )

    def frames(self, reading_time: ReadingTime) -> list[Frame]:
        """The frames of all available metrics, except those without any rows yet."""
        frames = [metric_views.frame(reading_time) for metric_views in self.metric_views]
        return [frame for frame in frames if len(frame)]


def reading_of(
    probes: Sequence[Probe],
    loaded: LoadedProbes,
    attribution: Attribution,
    *,
    start: int,
    cleanup: MapCleanup,
    limit: int,
) -> Reading:
    """The reading of loaded probes. ``start``: when they were attached, ns since the epoch.

    ``limit``: how many rows a view may have.
    """
    decoders = Decoders.of_machine()
    stale_after = _stale_after(cleanup)
    all_totals: dict[str, MapTotals] = {}
    metric_views: list[MetricView] = []
    for name, metrics in _by_map(probes, loaded).items():
        views = _distinct([metric.attributes for metric in metrics])
        built: list[View] = [view_of(attributes, attribution, decoders) for attributes in views]
        fields = loaded.maps[name].value_fields
        counted = [positions(fields, each.value.field)[0] for each in metrics if isinstance(each.value, Distinct)]
        distinct = counted[0] if counted else None
        map_totals = all_totals[name] = MapTotals(loaded.maps[name], built, start, limit, stale_after, distinct)
        metric_views += [
            MetricView(map_totals, views.index(metric.attributes), frame_maker(metric, fields)) for metric in metrics
        ]
    return Reading(all_totals, tuple(metric_views), Cleaning(cleanup, loaded.generation), attribution)


def _stale_after(cleanup: MapCleanup) -> float:
    return inf if cleanup.strategy == "no_cleanup" else cleanup.stale_after


def _distinct(views: Sequence[tuple[Attribute, ...]]) -> list[tuple[Attribute, ...]]:
    """Without duplicates; decoders may be tables, which are not hashable."""
    return [view for i, view in enumerate(views) if view not in views[:i]]


def _by_map(probes: Sequence[Probe], loaded: LoadedProbes) -> dict[str, list[Metric]]:
    """The available metrics by published map name."""
    metrics: dict[str, list[Metric]] = {}
    for probe in probes:
        for metric in probe.metrics:
            if metric.name not in loaded.unavailable:
                metrics.setdefault(probe.map(metric.map).published, []).append(metric)
    return metrics


def coverage(frames: Sequence[Frame]) -> float | None:
    """The share of counts whose cgroup is known; None if nothing was counted.

    For these it is certain which container they belong to, or that they belong to none; the rest may belong to any. It
    is the unweighted mean of the counters' shares, since pages, calls and bytes cannot be added up.
    """
    shares = [share for frame in frames if (share := _share(frame)) is not None]
    return sum(shares) / len(shares) if shares else None


def _share(frame: Frame) -> float | None:
    if frame.kind is not Kind.COUNTER or (known := _known(frame.rows)) is None:
        return None
    total = int(frame.values.sum())
    return int(frame.values[known].sum()) / total if total else None


@once_per_row_set
def _known(rows: RowSet) -> NDArray[np.bool_] | None:
    """Which rows have a known cgroup; None if rows have no cgroup."""
    column = rows.columns.get(_CGROUP)
    if not isinstance(column, Text):
        return None
    return np.array([path != UNKNOWN for path in column.words], np.bool_)[column.codes]
