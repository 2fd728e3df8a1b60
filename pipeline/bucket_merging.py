# SPDX-License-Identifier: Apache-2.0
"""Histograms with fewer buckets: neighbouring buckets are merged, so counts up to the remaining bounds stay exact.

Receivers count as finely as they can, and each exporter passes on what its back end can use.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .buckets import ExplicitBuckets
from .frame import Frame, Kind

_ALIKE = 1e-9
"""Relative tolerance: bounds that were calculated in different ways may differ in their last digits."""


def merged(frame: Frame, wanted: NDArray[np.float64]) -> Frame:
    """The histogram with only those of its bounds that are ``wanted`` (float64 in its unit, in any order).

    The buckets become explicit, and the last one keeps no upper bound. Counts, sums and times stay the same. Bounds
    that the histogram does not have are ignored; a histogram with none of them, and any frame that is not a histogram,
    is returned unchanged.
    """
    if frame.kind is not Kind.HISTOGRAM or frame.bounds is None or frame.values.dtype.kind not in "uif":
        return frame
    kept = positions_of(wanted, frame.bounds)
    if not len(kept) or len(kept) == len(frame.bounds):
        return frame
    first = np.concatenate((np.zeros(1, np.intp), kept + 1))  # first bucket of each merged group
    return replace(
        frame, values=np.add.reduceat(frame.values, first, axis=1), buckets=ExplicitBuckets(frame.bounds[kept])
    )


def positions_of(wanted: NDArray[Any], bounds: NDArray[np.float64]) -> NDArray[np.intp]:
    """The positions in ``bounds`` of the bounds that are ``wanted``, ascending."""
    there = np.isclose(bounds[:, np.newaxis], np.asarray(wanted, np.float64)[np.newaxis, :], rtol=_ALIKE, atol=0.0)
    return np.flatnonzero(there.any(axis=1))
