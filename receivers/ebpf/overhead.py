# SPDX-License-Identifier: Apache-2.0
"""What the probes cost, and which one has to go when that is too much. Pure: the kernel's figures are passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATIENCE = 3
"""For how many intervals running the limit must be exceeded: a burst alone turns nothing off."""


@dataclass
class Overhead:
    """Judges the run time of programs.

    ``limit``: the allowed share of the machine's processor time. ``order``: which probe goes first; empty: the one that
    took most in the last interval; with an order, probes that are not in it stay. ``processors``: how many work.
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

    def judge(self, now: float, run_time: Mapping[str, int], probes: Mapping[str, Sequence[str]]) -> str | None:
        """The probe to turn off now, or None.

        ``now``: monotonic seconds. ``run_time``: nanoseconds since loading, by program. ``probes``: which ones are at
        work, with the programs of each; a program that serves several counts for each in equal parts.
        """
        before, self._last = self._last, (now, run_time)
        if before is None or now <= before[0]:
            return None
        spent = {name: total - before[1].get(name, total) for name, total in run_time.items()}
        self.share = sum(spent.values()) / ((now - before[0]) * 1e9 * self.processors)
        self._above = self._above + 1 if self.share > self.limit else 0
        if self._above < PATIENCE:
            return None
        self._above = 0
        chosen = self._next(spent, probes)
        self.stuck = chosen is None
        return chosen

    def _next(self, spent: Mapping[str, int], probes: Mapping[str, Sequence[str]]) -> str | None:
        if self.order:
            return next((name for name in self.order if name in probes), None)
        serves = {program: sum(program in each for each in probes.values()) for program in spent}
        costs = {
            name: sum(spent.get(program, 0) / serves[program] for program in programs if serves.get(program))
            for name, programs in probes.items()
        }
        return max(costs, key=lambda name: costs[name], default=None)
