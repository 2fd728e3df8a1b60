# SPDX-License-Identifier: Apache-2.0
"""The buckets of a histogram: explicit bounds, or exponential ones that a scale and an offset describe.

A frame has one or the other in its field ``buckets``. Both have ``bounds``, so a component that does not care needs no
distinction; an exporter whose protocol has exponential histograms looks for `ExponentialBuckets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .rows import frozen

Bounds = NDArray[np.float64]
MIN_SCALE, MAX_SCALE = -10, 20
"""The scales that OpenTelemetry's SDKs use."""


@dataclass(frozen=True, slots=True, eq=False)
class ExplicitBuckets:
    """Buckets with any bounds.

    ``bounds``: inclusive upper bounds, ascending float64 in the frame's unit; the last bucket, which is +Inf, is not
    among them, so there is one bucket more than bounds.
    ``advised``: the subset of the bounds to use where all of them are too many (like the advisory parameters of an
    OpenTelemetry instrument); None: all.
    Raises `FrameError` when the bounds do not ascend.
    """

    bounds: Bounds
    advised: Bounds | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", _ascending(self.bounds))
        if self.advised is not None:
            object.__setattr__(self, "advised", _ascending(self.advised))


@dataclass(frozen=True, slots=True, eq=False)
class ExponentialBuckets:
    """Buckets whose bounds are powers of 2 ** 2 ** -``scale``, as in an exponential histogram of OpenTelemetry.

    ``size`` buckets begin at the index ``offset``: the one with index *i* holds what is above base ** i and at most
    base ** (i + 1). Before them is the bucket for zero and everything up to base ** offset (the zero threshold), after
    them the one for what is above all bounds, so ``bounds`` has ``size`` + 1 elements and a frame ``size`` + 2 columns.
    ``advised``: as in `ExplicitBuckets`.
    Raises `FrameError` for a scale, an offset or a size that no float64 bounds have.
    """

    scale: int
    offset: int
    size: int
    advised: Bounds | None = None
    bounds: Bounds = field(init=False)

    def __post_init__(self) -> None:
        if not MIN_SCALE <= self.scale <= MAX_SCALE:
            raise FrameError(f"the scale {self.scale} is not one; give {MIN_SCALE} to {MAX_SCALE}")
        if self.size < 0:
            raise FrameError(f"{self.size} buckets are not a number of buckets; give 0 or more")
        with np.errstate(over="ignore", under="ignore"):
            bounds = np.exp2(np.ldexp(self.offset + np.arange(self.size + 1, dtype=np.float64), -self.scale))
        if not (bounds[0] > 0 and np.isfinite(bounds[-1])):
            raise FrameError(f"{self.size} buckets from the index {self.offset} have bounds that no float64 can hold")
        object.__setattr__(self, "bounds", _ascending(bounds))
        if self.advised is not None:
            object.__setattr__(self, "advised", _ascending(self.advised))


Buckets = ExplicitBuckets | ExponentialBuckets


def _ascending(bounds: Bounds) -> Bounds:
    array = np.asarray(bounds, np.float64)
    if array.ndim != 1 or not (array[1:] > array[:-1]).all() or np.isnan(array).any():
        raise FrameError("the bounds of buckets do not ascend; sort them, and give each once")
    return frozen(array)
