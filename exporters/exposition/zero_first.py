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


def hidden(new: Points, shown: Sequence[Points], since: int, waiting: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """For how many readings from now on each series of ``new`` is 0.

    ``shown``: the series of the same stream up to now. ``since``: the time of the reading before, ns since the epoch.
    ``waiting``: ids of the rows that were 0 up to this reading; under another name they have to be seen so, too.
    """
    for part in shown:
        if new.blocks is part.blocks:
            return part.hidden
    result = np.zeros(len(new), np.uint8)
    chosen = np.flatnonzero((new.starts >= np.uint64(since)) | np.isin(new.ids, waiting)).tolist()
    if not chosen:
        return result
    labels = {new.blocks[position] for position in chosen}
    left = {label: 0 for part in shown for label in labels.intersection(part.blocks)}
    for part in (part.take(part.hidden > 0) for part in shown):
        left.update(zip(part.blocks, part.hidden.tolist(), strict=True))
    result[chosen] = [left.get(new.blocks[position], READINGS) for position in chosen]
    return result


def known_starts(new: Points, shown: Sequence[Points]) -> NDArray[np.uint64]:
    """Since when the series of ``new`` count, 0 where a row got another name: of what it counted since its start a part
    stood under the old one, and who takes the new one for 0 up to there would count that a second time."""
    for part in shown:
        if new.blocks is part.blocks:
            return np.where(part.starts == 0, np.uint64(0), new.starts)
    before = {label: start for part in shown for label, start in zip(part.blocks, part.starts.tolist(), strict=True)}
    there = np.isin(new.ids, np.concatenate([new.ids[:0], *(part.ids for part in shown)]))
    known = [before.get(label, not old) for label, old in zip(new.blocks, there.tolist(), strict=True)]
    return np.where(np.array(known, np.bool_), new.starts, np.uint64(0))


def one_reading_later(points: Points, *, scraped: bool, now: float, time: int) -> Points:
    """The same series; those that are no longer 0 count as exported ``now`` and read at ``time``.

    ``scraped``: whether somebody saw them as they were.
    """
    if not points.hidden.any():
        return points
    left = np.zeros_like(points.hidden) if scraped else points.hidden - (points.hidden > 0)
    revealed = (points.hidden > 0) & (left == 0)
    seen, times = np.where(revealed, now, points.seen), np.where(revealed, time, points.times)
    return replace(points, hidden=left, seen=seen, times=times)
