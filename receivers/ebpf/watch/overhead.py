# SPDX-License-Identifier: Apache-2.0
"""Measures the probes' overhead, and decides which one to turn off if it is too high. Pure: figures are passed in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

INTERVALS_ABOVE = 3
"""How many consecutive intervals the limit must be exceeded: a single burst turns nothing off."""


@dataclass
class Overhead:
    """Judges the run time of programs.

    ``limit``: the allowed share of the machine's CPU time. ``order``: in which probes are turned off; those that are
    not in it stay. ``cpus``: the number of online CPUs.
    """

    limit: float
    order: Sequence[str]
    cpus: int
    share: float | None = None
    """The share of the machine's CPU time in the last interval; None before two readings."""
    _last: tuple[float, Mapping[str, int]] | None = None
    stuck: bool = False
    """Whether it is still too much although all probes that may be turned off are."""
    _above: int = 0

    def judge(self, now: float, run_time: Mapping[str, int], probes: Collection[str]) -> str | None:
        """The probe to turn off now, or None.

        ``now``: monotonic seconds. ``run_time``: nanoseconds since loading, by program. ``probes``: the active ones.
        """
        before, self._last = self._last, (now, run_time)
        if before is None or now <= before[0]:
            return None
        spent = sum(total - before[1].get(name, total) for name, total in run_time.items())
        self.share = spent / ((now - before[0]) * 1e9 * self.cpus)
        self._above = self._above + 1 if self.share > self.limit else 0
        if self._above < INTERVALS_ABOVE:
            return None
        self._above = 0
        chosen = next((name for name in self.order if name in probes), None)
        self.stuck = chosen is None
        return chosen
