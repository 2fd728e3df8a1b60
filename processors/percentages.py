# SPDX-License-Identifier: Apache-2.0
"""Common percentages of this field, computed from counters over the last interval.

Each is ``100 × part / whole`` of the increases, for each row in which the whole grew; absent otherwise, because a
ratio with an empty whole is neither 0 nor 100. They are clamped to 0 and 100 if the two counters are out of step: a
call that starts in one interval may succeed in the next. For long ranges divide the counters in the query language
instead of averaging percentages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.increase import Increase
from ebpf_sidecar.pipeline.metric_info import MetricInfo
from ebpf_sidecar.pipeline.metric_info import gauge as info
from ebpf_sidecar.pipeline.row_matching import matching_positions
from ebpf_sidecar.pipeline.rows import RowSet

from .subset import Subset

Measured = Mapping[str, tuple[Frame, Increase]]
"""Metric name → its frame and increase, all of one origin."""


@dataclass(frozen=True, slots=True)
class Percentage:
    """A metric computed from two others: ``part`` over ``whole``.

    ``remainder``: the name and description of the metric that is 100 minus this one.
    """

    name: str
    description: str
    part: str
    whole: str
    remainder: tuple[str, str] | None = None


PERCENTAGES = (
    Percentage(
        "ebpf.cache.miss_rate",
        "Share of the pages requested by reads in the last interval that had to be brought in",
        "ebpf.cache.misses",
        "ebpf.cache.read_attempts",
        (
            "ebpf.cache.hit_rate",
            "Share of the pages requested by reads in the last interval that were in the page cache",
        ),
    ),
    Percentage(
        "ebpf.cache.mapped_miss_rate",
        "Share of the page faults on mapped files in the last interval that had to bring pages in",
        "ebpf.cache.mapped_misses",
        "ebpf.cache.mapped_faults",
        (
            "ebpf.cache.mapped_hit_rate",
            "Share of the page faults on mapped files in the last interval that found their pages in the page cache",
        ),
    ),
    Percentage(
        "ebpf.fadvise.success_rate",
        "Share of the fadvise calls in the last interval that succeeded",
        "ebpf.fadvise.success",
        "ebpf.fadvise.calls",
    ),
    Percentage(
        "ebpf.memory.reclaim_efficiency",
        "Share of the pages scanned for reclaim in the last interval that could be reclaimed",
        "ebpf.memory.lru.pages_reclaimed",
        "ebpf.memory.lru.pages_scanned",
    ),
)


def percentage_metrics(folders: Sequence[Path]) -> Iterator[MetricInfo]:  # noqa: ARG001 # the contract's argument
    """The percentages' metrics, by name. Their attributes are those of the counters."""
    named = [(each.name, each.description) for each in PERCENTAGES]
    named += [each.remainder for each in PERCENTAGES if each.remainder]
    yield from (info(name, "%", description) for name, description in sorted(named))


INPUTS = frozenset(name for percentage in PERCENTAGES for name in (percentage.whole, percentage.part))


@dataclass
class PercentageRows:
    """One percentage of one origin, and its state between intervals."""

    percentage: Percentage
    _subset: Subset = field(default_factory=Subset)
    _match: _Match | None = None

    def frames(self, measured: Measured) -> Iterable[Frame]:
        """The frames of the percentage and of its remainder; none if an input is missing or nothing happened."""
        part = self.percentage.part
        if part not in measured or self.percentage.whole not in measured:
            return
        whole, increase = measured[self.percentage.whole]
        grew = increase.amounts > 0
        if not grew.any():
            return
        rows = self._subset.of(whole.rows, grew)
        amounts = self._aligned(*measured[part], whole.rows)[grew]
        percent = np.clip(100.0 * amounts / increase.amounts[grew], 0.0, 100.0)
        yield gauge(whole, rows, percent, self.percentage.name, text=self.percentage.description)
        if self.percentage.remainder:
            name, description = self.percentage.remainder
            yield gauge(whole, rows, 100.0 - percent, name, text=description)

    def _aligned(self, frame: Frame, increase: Increase, rows: RowSet) -> NDArray[np.float64]:
        """The increases of the part, summed for each of ``rows``."""
        if frame.rows is rows:
            return increase.amounts
        match = self._match
        if match is None or match.of() is not frame.rows or match.within() is not rows:
            match = self._match = _match(frame.rows, rows)
        return np.bincount(match.targets, increase.amounts[match.chosen], len(rows)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Match:
    """Which rows of one row set (``chosen``) belong to which of another (``targets``)."""

    of: ref[RowSet]
    within: ref[RowSet]
    chosen: NDArray[np.intp]
    targets: NDArray[np.intp]


def _match(of: RowSet, within: RowSet) -> _Match:
    targets = matching_positions(of, within, set())
    chosen = np.flatnonzero(targets >= 0)
    return _Match(ref(of), ref(within), chosen, targets[chosen])


def gauge(of: Frame, rows: RowSet, values: NDArray[np.float64], name: str, *, text: str, unit: str = "%") -> Frame:
    """A gauge for some rows of the frame that it is computed from, with that frame's times."""
    return Frame(
        name,
        Kind.GAUGE,
        rows,
        values,
        of.time_unix_nano,
        unit=unit,
        description=text,
        resource=of.resource,
        scope=of.scope,
        source=of.source,
        monotonic_nano=of.monotonic_nano,
    )
