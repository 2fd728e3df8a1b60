# SPDX-License-Identifier: Apache-2.0
"""Which series are new, and are shown as 0 first, so that ``increase()`` sees all that they count.

Prometheus takes a series' first value as given: what a process counted before the first scrape that saw its series is
in no ``rate()`` or ``increase()``. So a new series is 0 until the reading after a scrape saw it, or for `READINGS`
readings. New is a series that is not on the page and that counts since the reading before, by its start time: what was
away and returns, or was given another name, goes on with its value, or its past would be counted a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .series import Points

READINGS = 2
"""For how many readings a new series is 0 at most."""


def start_at_zero(new: Points, shown: Sequence[Points], since: int, waiting: NDArray[np.uint64]) -> Points:
    """The series of ``new``, with for how many readings from now on each is 0, and since when it is known to count.

    ``shown``: the series of the same stream up to now. ``since``: the time of the reading before, ns since the epoch.
    ``waiting``: ids of the rows that were 0 up to this reading; under another name they have to be seen so, too. Where
    a row that was shown gets another name the start is 0, for unknown: who takes its new series for 0 up to there would
    count a second time what stood under the old one.
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
    """What is 0, or of which the start is not known, stays so under its labels."""
    if not len(part):
        return
    before = {block: position for position, block in enumerate(part.blocks)}
    here = [position for position, block in enumerate(new.blocks) if block in before]
    old = [before[new.blocks[position]] for position in here]
    hidden[here] = part.hidden[old]
    starts[here] = np.where(part.starts[old] == 0, np.uint64(0), starts[here])


def after_next_reading(points: Points, *, scraped: bool, now: float, time: int) -> Points:
    """The same series; those that are no longer 0 count as exported ``now`` and read at ``time``.

    ``scraped``: whether somebody saw them as they were.
    """
    if not points.hidden.any():
        return points
    left = np.zeros_like(points.hidden) if scraped else points.hidden - (points.hidden > 0)
    revealed = (points.hidden > 0) & (left == 0)
    seen, times = np.where(revealed, now, points.seen), np.where(revealed, time, points.times)
    return replace(points, hidden=left, seen=seen, times=times)
