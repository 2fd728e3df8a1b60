# SPDX-License-Identifier: Apache-2.0
"""All maps of the loaded probes, read together: from one look at the kernel to frames."""

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
from ebpf_sidecar.receivers.ebpf.maps.loaded import Loaded
from ebpf_sidecar.receivers.ebpf.maps.map_totals import Tally, View
from ebpf_sidecar.receivers.ebpf.owners.attribution import ATTRIBUTES, Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import UNKNOWN
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute, Distinct, Metric, Probe

from .decoders import Decoders
from .metric_frames import Moment, ToFrame, frame_maker, positions, view_of

_CGROUP = ATTRIBUTES[GroupBy.CGROUP]


@dataclass(frozen=True, slots=True)
class Shown:
    """A metric: the tally and the view it is made from, and how."""

    tally: Tally
    view: int
    make: ToFrame

    def frame(self, moment: Moment) -> Frame:
        """The metric now."""
        return self.make(self.tally.snapshot(self.view), moment)


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads all maps and makes the frames of all metrics that are available."""

    tallies: Mapping[str, Tally]
    shown: Sequence[Shown]
    cleaning: Cleaning
    attribution: Attribution

    def update(self, now: float, time: int = 0, *, ahead: bool = False) -> None:
        """Read every map once, and clean up where that is due. Raises `ProbeError`.

        ``now``: monotonic seconds; ``time``: the same moment, ns since the epoch; ``ahead``: of the wall clock.
        """
        tallies = list(self.tallies.values())
        self.cleaning.before_reading(tallies, now)
        keys = [tally.update(now, time, ahead=ahead) for tally in tallies]
        self.cleaning.after_reading(tallies, keys)
        self.attribution.forget_names(lambda: chain.from_iterable(tally.groups() for tally in tallies))

    def without(self, maps: Collection[str]) -> Reading:
        """The same without these maps (by published name) and what is made from them."""
        gone = [id(self.tallies[name]) for name in maps if name in self.tallies]
        return replace(
            self,
            tallies={name: tally for name, tally in self.tallies.items() if name not in maps},
            shown=[shown for shown in self.shown if id(shown.tally) not in gone],
        )

    def frames(self, moment: Moment) -> list[Frame]:
        """The frames of all available metrics; those that have no row yet left out."""
        frames = [shown.frame(moment) for shown in self.shown]
        return [frame for frame in frames if len(frame)]


def reading_of(
    probes: Sequence[Probe], loaded: Loaded, attribution: Attribution, *, start: int, cleanup: MapCleanup, limit: int
) -> Reading:
    """The reading of loaded probes. ``start``: when they were attached, ns since the epoch.

    ``limit``: how many rows a view may have.
    """
    decoders = Decoders.of_machine()
    stale_after = inf if cleanup.strategy == "no_cleanup" else cleanup.stale_after
    tallies: dict[str, Tally] = {}
    shown: list[Shown] = []
    for name, metrics in _by_map(probes, loaded).items():
        views = _distinct([metric.attributes for metric in metrics])
        built: list[View] = [view_of(attributes, attribution, decoders) for attributes in views]
        fields = loaded.maps[name].value_fields
        counted = [positions(fields, each.value.field)[0] for each in metrics if isinstance(each.value, Distinct)]
        distinct = counted[0] if counted else None
        tally = tallies[name] = Tally(loaded.maps[name], built, start, limit, stale_after, distinct)
        shown += [Shown(tally, views.index(metric.attributes), frame_maker(metric, fields)) for metric in metrics]
    return Reading(tallies, tuple(shown), Cleaning(cleanup, loaded.generation), attribution)


def _distinct(views: Sequence[tuple[Attribute, ...]]) -> list[tuple[Attribute, ...]]:
    """Each once; decoders may be tables, which have no hash."""
    return [view for i, view in enumerate(views) if view not in views[:i]]


def _by_map(probes: Sequence[Probe], loaded: Loaded) -> dict[str, list[Metric]]:
    """The available metrics by published map name."""
    metrics: dict[str, list[Metric]] = {}
    for probe in probes:
        for metric in probe.metrics:
            if metric.name not in loaded.unavailable:
                metrics.setdefault(probe.map(metric.map).published, []).append(metric)
    return metrics


def coverage(frames: Sequence[Frame]) -> float | None:
    """The share of what was counted whose cgroup is known; None when nothing was counted.

    Of that it is certain which container it belongs to, or that it is of none; the rest may be anybody's. It is the
    mean of the counters' own shares, each weighing the same: pages, calls and bytes cannot be added up.
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
    """The rows of known cgroups; None where rows do not tell."""
    column = rows.columns.get(_CGROUP)
    if not isinstance(column, Text):
        return None
    return np.array([path != UNKNOWN for path in column.words], np.bool_)[column.codes]
