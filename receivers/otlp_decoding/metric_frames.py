# SPDX-License-Identifier: Apache-2.0
"""One metric of a request as frames: one for each time that its points have, earlier ones first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Kind, Scope, Temporality
from ebpf_sidecar.pipeline.resource import Resource

from .explicit_histograms import explicit_groups
from .exponential_histograms import exponential_groups, span_of
from .histogram_group import HistogramGroup, Losses
from .number_points import NumberPoints, read_at_once, read_one_by_one
from .origin_rows import DescribedRows, IrregularError, OriginRows
from .regular_histograms import regular_groups

SUMMARY, TEMPORALITY = "summary", "unspecified_temporality"
_TEMPORALITIES = {1: Temporality.DELTA, 2: Temporality.CUMULATIVE}


@dataclass(slots=True)
class Reading(Losses):
    """What a request had in it that the frames do not have. ``absent``: attributes with empty values."""

    absent: int = 0


@dataclass(frozen=True, slots=True)
class MetricReader:
    """Reads the metrics of one origin. ``now``: the time of points that have none, in ns since the epoch."""

    rows: OriginRows
    resource: Resource
    scope: Scope
    now: int
    reading: Reading = field(default_factory=Reading)

    def frames(self, metric: Any) -> Iterator[Frame]:
        """The frames of a ``Metric``. Raises `google.protobuf.message.DecodeError`."""
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind) if kind else None
        if data is None or not len(data.data_points):
            return
        temporality = _TEMPORALITIES.get(getattr(data, "aggregation_temporality", 0))
        if kind == "summary" or (kind != "gauge" and temporality is None):
            self.reading.dropped[SUMMARY if kind == "summary" else TEMPORALITY] += len(data.data_points)
        elif kind in ("gauge", "sum"):
            yield from self._numbers(metric, data, temporality)
        else:
            yield from self._histograms(metric, kind, data, temporality)

    def _numbers(self, metric: Any, data: Any, temporality: Temporality | None) -> list[Frame]:
        kind = Kind.GAUGE if temporality is None else Kind.COUNTER if data.is_monotonic else Kind.UPDOWNCOUNTER
        build = partial(self._number_frames, metric, kind, temporality)
        bodies = list(data.data_points)
        points = read_at_once(bodies)
        if points is not None:
            with suppress(IrregularError):
                return build(points)
        return build(read_one_by_one(bodies))

    def _number_frames(
        self, metric: Any, kind: Kind, temporality: Temporality | None, points: NumberPoints
    ) -> list[Frame]:
        points = points.representable(kind)
        # all rows before anything is counted, because the points may turn out to be irregular
        found = [
            (time, part, self.rows.find(metric.name, part.descriptions, regular=part.regular))
            for time, part in points.by_time()
        ]
        self.reading.dropped += points.dropped
        self.reading.exemplars += points.exemplars
        frames: list[Frame] = []
        for time, part, described in found:
            frames += self._frame(
                metric, described, kind=kind, temporality=temporality, time=time, starts=part.starts, values=part.values
            )
        return frames

    def _histograms(self, metric: Any, kind: str, data: Any, temporality: Temporality | None) -> list[Frame]:
        build = partial(self._histogram_frames, metric, temporality)
        if kind != "histogram":
            state = self.rows.metric(metric.name)
            earlier = state.span if temporality is Temporality.CUMULATIVE else None
            groups = list(exponential_groups(data.data_points, losses := Losses(), earlier))
            spans = [span for group in groups if (span := span_of(group))]
            state.span = spans[-1] if spans else state.span
            return build(groups, losses)
        bodies = list(data.data_points)
        regular = regular_groups(bodies)
        if regular is not None:
            with suppress(IrregularError):
                return build(regular, Losses())
        return build(list(explicit_groups(bodies, losses := Losses())), losses)

    def _histogram_frames(
        self, metric: Any, temporality: Temporality | None, groups: Sequence[HistogramGroup], losses: Losses
    ) -> list[Frame]:
        found = [self.rows.find(metric.name, group.descriptions, regular=group.regular) for group in groups]
        self.reading.add(losses)
        return [
            frame
            for group, described in zip(groups, found, strict=True)
            for frame in self._frame(
                metric,
                described,
                kind=Kind.HISTOGRAM,
                temporality=temporality,
                time=group.time,
                starts=group.starts,
                values=group.counts,
                group=group,
            )
        ]

    def _frame(
        self,
        metric: Any,
        described: DescribedRows,
        *,
        kind: Kind,
        temporality: Temporality | None,
        time: int,
        starts: NDArray[np.uint64],
        values: NDArray[Any],
        group: HistogramGroup | None = None,
    ) -> Iterator[Frame]:
        """The frame, unless nothing is left of it."""
        self.reading.dropped.update(described.dropped)
        self.reading.absent += described.absent
        if not len(described.rows):
            return
        kept = slice(None) if described.kept is None else described.kept
        yield Frame(
            metric.name,
            kind,
            described.rows,
            values[kept],
            time or self.now,
            0 if kind is Kind.GAUGE else _one_if_equal(starts[kept]),
            metric.unit,
            metric.description,
            temporality or Temporality.UNSPECIFIED,
            group.buckets if group else None,
            group.sums[kept] if group else None,
            self.resource,
            self.scope,
        )


def _one_if_equal(starts: NDArray[np.uint64]) -> int | NDArray[np.uint64]:
    return int(starts[0]) if (starts == starts[0]).all() else starts
