# SPDX-License-Identifier: Apache-2.0
"""What the probes cost, and which one has to go when that is too much. Pure: the kernel's figures are passed in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

PATIENCE = 3
"""For how many intervals running the limit must be exceeded: a burst alone turns nothing off."""


@dataclass
class Overhead:
    """Judges the run time of programs.

    ``limit``: the allowed share of the machine's processor time. ``order``: which probe goes first; probes that are not
    in it stay. ``processors``: how many work.
    """

    limit: float
    order: Sequence[str]
    processors: int
    share: float | None = None
    """What the last interval took of the machine's processor time; None before two readings."""
    _last: tuple[float, Mapping[str, int]] | None = None
    stuck: bool = False
    """Whether it is still too much, and none of those that may go is left."""
    _above: int = 0

    def judge(self, now: float, run_time: Mapping[str, int], probes: Collection[str]) -> str | None:
        """The probe to turn off now, or None.

        ``now``: monotonic seconds. ``run_time``: nanoseconds since loading, by program. ``probes``: which ones are at
        work.
        """
        before, self._last = self._last, (now, run_time)
        if before is None or now <= before[0]:
            return None
        spent = sum(total - before[1].get(name, total) for name, total in run_time.items())
        self.share = spent / ((now - before[0]) * 1e9 * self.processors)
        self._above = self._above + 1 if self.share > self.limit else 0
        if self._above < PATIENCE:
            return None
        self._above = 0
        chosen = next((name for name in self.order if name in probes), None)
        self.stuck = chosen is None
        return chosen
