# SPDX-License-Identifier: Apache-2.0
"""Histograms with fewer buckets: neighbours are merged, so what is counted up to a bound that stays is exact.

Receivers count as finely as they can, and each exporter passes on what its back end can use.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, Kind

_ALIKE = 1e-9
"""Relative: bounds that were calculated in different ways may differ in their last digits."""


def merged(frame: Frame, wanted: NDArray[np.float64]) -> Frame:
    """The histogram with those of its bounds alone that are ``wanted`` (float64 in its unit, in any order).

    The last bucket stays the one without an upper bound. Counts, sums and times are the same. Bounds that the histogram
    does not have are passed over; one without any of them is returned as it is, and so is all else.
    """
    if frame.kind is not Kind.HISTOGRAM or frame.bounds is None or frame.values.dtype.kind not in "uif":
        return frame
    kept = positions_of(wanted, frame.bounds)
    if not len(kept) or len(kept) == len(frame.bounds):
        return frame
    first = np.concatenate((np.zeros(1, np.intp), kept + 1))  # of the buckets that become one
    return replace(frame, values=np.add.reduceat(frame.values, first, axis=1), bounds=frame.bounds[kept])


def positions_of(wanted: NDArray[Any], bounds: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where in ``bounds`` those are that are among ``wanted``, ascending."""
    there = np.isclose(bounds[:, np.newaxis], np.asarray(wanted, np.float64)[np.newaxis, :], rtol=_ALIKE, atol=0.0)
    return np.flatnonzero(there.any(axis=1))
