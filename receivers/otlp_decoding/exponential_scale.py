# SPDX-License-Identifier: Apache-2.0
"""Buckets of an exponential histogram at a lower scale, where each holds exactly what two of them held before.

An index *i* at a scale *s* is the bucket above 2 ** (i / 2 ** s), up to and including the bound of *i* + 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ebpf_sidecar.pipeline.buckets import MAX_SCALE, MIN_SCALE

MOST_BUCKETS = 320
"""Columns of one frame, twice as many as an SDK's point has by default: rows differ in their range."""
_LEAST_BUCKETS, _MOST_COUNTS = 20, 32_000_000  # 256 MB: two points that are far apart would make all others wide


@dataclass(frozen=True, slots=True)
class Span:
    """A range of buckets: those with the indices from ``first`` to ``last`` at ``scale``."""

    scale: int
    first: int
    last: int

    def at(self, scale: int) -> Span:
        """The range that holds the same at a scale that is not higher."""
        lower = self.scale - scale
        return Span(scale, self.first >> lower, self.last >> lower)

    @classmethod
    def around(cls, spans: Sequence[Span]) -> Span:
        """The range that holds all of them, at the lowest of their scales."""
        scale = min([span.scale for span in spans])
        first = min([span.first >> (span.scale - scale) for span in spans])
        return cls(scale, first, max([span.last >> (span.scale - scale) for span in spans]))

    def fitted(self, rows: int) -> Span:
        """The range at the highest scale at which a frame with that many rows can hold it, without what no float64
        bounds have.
        """
        span, most = self.at(min(self.scale, MAX_SCALE)), max(_LEAST_BUCKETS, min(MOST_BUCKETS, _MOST_COUNTS // rows))
        while span.scale > MIN_SCALE and span.last - span.first >= most:
            span = span.at(span.scale - 1)
        first, last = max(span.first, _lowest(span.scale)), min(span.last, _highest(span.scale))
        return Span(span.scale, min(first, last + 1), last)


def bound(index: int, scale: int) -> float:
    """The upper bound of the bucket before ``index``, calculated as in `ExponentialBuckets`."""
    return float(np.exp2(np.ldexp(float(index), -scale)))


def first_bound_from(threshold: float, scale: int) -> int:
    """The lowest index whose bucket lies above ``threshold``, which is above zero."""
    index = math.ceil(math.ldexp(math.log2(threshold), scale))
    while bound(index, scale) < threshold:
        index += 1
    while bound(index - 1, scale) >= threshold:
        index -= 1
    return max(index, _lowest(scale))


def _lowest(scale: int) -> int:
    """The first index with a bound that is a normal float64, above 2 ** -1022."""
    return -(1022 << scale) if scale >= 0 else -(1022 >> -scale)


def _highest(scale: int) -> int:
    """The last index with a finite upper bound, below 2 ** 1024."""
    return ((1024 << scale) - 1 if scale >= 0 else 1023 >> -scale) - 1
