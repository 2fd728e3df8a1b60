# SPDX-License-Identifier: Apache-2.0
"""Shows new series as 0 first, so that ``increase()`` includes everything that they count.

Prometheus uses a series' first value as the baseline: counts before the first scrape of a series are in no ``rate()``
or ``increase()``. So a new series is 0 until the reading after its first scrape, or for `READINGS` readings. A series
is new if it is not on the page and, by its start time, counts since the previous reading. A series that returns or was
renamed continues with its value, or its past would be counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .series import Points

READINGS = 2
"""The most readings for which a new series is 0."""


def start_at_zero(new: Points, shown: Sequence[Points], since: int, waiting: NDArray[np.uint64]) -> Points:
    """The series of ``new``, with the number of readings for which each is 0, and its known start time.

    ``shown``: the series of the same stream so far. ``since``: the time of the previous reading, ns since the epoch.
    ``waiting``: ids of the rows that were 0 up to this reading; if renamed, they must be scraped as 0 as well. If a row
    that was shown is renamed, its start is 0 (unknown): a reader that assumes 0 at the start of the new series would
    count the old one twice.
    """
    for part in shown:
        if new.blocks is part.blocks:
            return replace(new, hidden=part.hidden, starts=np.where(part.starts == 0, part.starts, new.starts))
    there = set[str]().union(*(part.blocks for part in shown))
    unseen = np.fromiter((block not in there for block in new.blocks), np.bool_, len(new))
    born, hidden, starts = new.starts >= np.uint64(since), np.zeros(len(new), np.uint8), new.starts.copy()
    hidden[unseen & (born | np.isin(new.ids, waiting))] = READINGS
    renamed = unseen.copy()
    renamed[unseen] = np.isin(new.ids[unseen], np.concatenate([new.ids[:0], *(part.ids for part in shown)]))
    starts[renamed] = 0
    anything_known = bool(new.starts.any())
    for part in shown:
        _continue(new, part.take((part.hidden > 0) | ((part.starts == 0) & anything_known)), hidden, starts)
    return replace(new, hidden=hidden, starts=starts)


def _continue(new: Points, part: Points, hidden: NDArray[np.uint8], starts: NDArray[np.uint64]) -> None:
    """Series that are 0, or have an unknown start, stay so under their labels."""
    if not len(part):
        return
    before = {block: position for position, block in enumerate(part.blocks)}
    here = [position for position, block in enumerate(new.blocks) if block in before]
    old = [before[new.blocks[position]] for position in here]
    hidden[here] = part.hidden[old]
    starts[here] = np.where(part.starts[old] == 0, np.uint64(0), starts[here])


def after_next_reading(points: Points, *, scraped: bool, now: float, time: int) -> Points:
    """The same series; those that are no longer 0 count as exported ``now`` and read at ``time``.

    ``scraped``: whether they were scraped as 0.
    """
    if not points.hidden.any():
        return points
    left = np.zeros_like(points.hidden) if scraped else points.hidden - (points.hidden > 0)
    revealed = (points.hidden > 0) & (left == 0)
    seen, times = np.where(revealed, now, points.seen), np.where(revealed, time, points.times)
    return replace(points, hidden=left, seen=seen, times=times)
