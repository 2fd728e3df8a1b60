# SPDX-License-Identifier: Apache-2.0
"""The limit of series and bytes on a page. A full page accepts no new series; existing ones continue.

Bytes are counted as if each number had its longest form, so that a page does not exceed its limit while its numbers
grow. The service's own metrics and ``target_info`` are not included.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Kind

from .names import MetricNames
from .series import Points

_INTEGER, _FLOAT = 20, 24
"""The length of 2**64 - 1, and of the longest float in lossless form."""
_TIME = 15
"""The length of a space and a time in seconds with milliseconds."""
WARN_AT = 0.8
"""The fraction of a limit at which a warning is logged."""
REARM_BELOW = 0.7
"""The fraction below which it may be logged again, so that a page that hovers around `WARN_AT` does not repeat it."""


@dataclass(frozen=True, slots=True)
class PageSize:
    """The number of series (lines without comments) and the maximum number of bytes."""

    series: int = 0
    bytes: int = 0

    def __add__(self, other: PageSize) -> PageSize:
        return PageSize(self.series + other.series, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class PointCost:
    """The space that points of one family need on the page.

    ``series``: series per point. ``lines``: lines per point, including those that scrapers do not store. ``point``:
    bytes of a point's lines without labels. ``head``: bytes of the comments.
    """

    series: int
    lines: int
    point: int
    head: int

    @classmethod
    def of(
        cls, name: MetricNames, kind: Kind, bounds: NDArray[np.float64] | None, description: str, extra: PageExtras
    ) -> PointCost:
        """The cost for a family with that name. ``bounds``: of a histogram."""
        longest = len(name.sample) + len("_created")
        histogram = kind is Kind.HISTOGRAM and bounds is not None
        lines = 3 + len(bounds[np.isfinite(bounds)]) if histogram and bounds is not None else 1
        le = len(',le=""') + _FLOAT if histogram else 0
        counting = kind in (Kind.COUNTER, Kind.HISTOGRAM)
        series = lines + (counting and extra.created is True)
        lines += counting and bool(extra.created)
        line = longest + le + (_INTEGER if counting else _FLOAT) + (_TIME if extra.timestamps else 0) + len("\n")
        line += _FLOAT - _INTEGER if histogram else 0  # sums are floats
        comment = len("# HELP ") + longest + len(" histogram\n")
        head = 3 * comment + 2 * _length((str(description),))  # each character may be escaped
        return cls(series, lines, lines * line, head)

    def of_points(self, number: int, label_bytes: int) -> PageSize:
        """The size of ``number`` points whose label blocks have ``label_bytes`` in total."""
        return PageSize(number * self.series, number * self.point + self.lines * label_bytes)


@dataclass(frozen=True, slots=True)
class PageExtras:
    """What a page shows in addition to values."""

    timestamps: bool = False
    created: bool | Literal["auto"] = False
    """``auto``: lines that are not series, for scrapers that understand them."""


@dataclass
class PageLimit:
    """Admits series while they fit. Not thread-safe."""

    most: PageSize
    extra: PageExtras = PageExtras()
    used: PageSize = PageSize()
    left_out: int = 0
    """Series that were not admitted since `begin`."""
    _lengths: dict[int, tuple[list[str], int]] = field(default_factory=dict)

    def cost(self, name: MetricNames, kind: Kind, bounds: NDArray[np.float64] | None, description: str) -> PointCost:
        """The cost of a point in that family."""
        return PointCost.of(name, kind, bounds, description, self.extra)

    def begin(self, families: Iterable[tuple[PointCost, Iterable[Points]]]) -> None:
        """Measure what is on the page now."""
        # a list of labels stays the same object while rows do not change; held here, so that its id is not reused
        known, self._lengths = self._lengths, {}
        self.used, self.left_out = PageSize(), 0
        for cost, parts in families:
            self.used += PageSize(0, cost.head)
            for part in parts:
                blocks = part.blocks
                _, length = self._lengths[id(blocks)] = known.get(id(blocks)) or (blocks, _length(blocks))
                self.used += cost.of_points(len(blocks), length)

    def beyond(self, cost: PointCost, blocks: list[str], shown: Collection[Points], without: set[str]) -> set[str]:
        """The labels among ``blocks`` that do not fit.

        ``shown``: the stream's series that are on the page. ``without``: labels that are left out anyway.
        """
        if any(part.blocks is blocks for part in shown):
            return set()
        there = without.union(*(part.blocks for part in shown))
        new = [block for block in blocks if block not in there]
        needed = cost.of_points(len(new), _length(new))
        if self._fits(needed):
            self.used += needed
            return set()
        fitting = self._fitting(cost, new)
        self.left_out += cost.series * (len(new) - fitting)
        self.used += cost.of_points(fitting, _length(new[:fitting]))
        return set(new[fitting:])

    def _fits(self, needed: PageSize) -> bool:
        used = self.used + needed
        return used.series <= self.most.series and used.bytes <= self.most.bytes

    def _fitting(self, cost: PointCost, new: list[str]) -> int:
        """How many of ``new`` fit."""
        taken = np.cumsum(cost.point + cost.lines * _lengths(new))
        by_bytes = int(np.searchsorted(taken, self.most.bytes - self.used.bytes, side="right"))
        return min(by_bytes, max(0, self.most.series - self.used.series) // cost.series)

    def share(self) -> float:
        """How much of the limit is in use, from 0 to 1."""
        return max(self.used.series / self.most.series, self.used.bytes / self.most.bytes)


def _length(blocks: Sequence[str]) -> int:
    """Bytes of all blocks together."""
    return int(_lengths(blocks).sum())


def _lengths(blocks: Sequence[str]) -> NDArray[np.int64]:
    """Bytes of each block."""
    if all(map(str.isascii, blocks)):  # in C, as nearly always
        return np.fromiter(map(len, blocks), np.int64, len(blocks))
    return np.fromiter((len(block.encode("utf-8", "replace")) for block in blocks), np.int64, len(blocks))
