# SPDX-License-Identifier: Apache-2.0
"""When kernel maps are emptied, and how: by generations, so that nothing is lost (see generation.py).

Before a reading the next generation begins; the reading then finds the retired entries frozen, and they are removed
after it. Where the kernel offers no way to wait for running programs, they are removed after the next reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from ebpf_sidecar.pipeline.component import MapCleanup

from .layout import Keys
from .map_totals import Tally


class Generations(Protocol):
    """See generation.Generation."""

    def flip(self) -> int:
        """Begin the next generation; the retired one is returned."""
        ...

    def settled(self) -> bool:
        """Wait until no program can write to the retired generation; False when that cannot be known."""
        ...


@dataclass
class Cleaning:
    """Follows a `MapCleanup` over the readings of some maps."""

    policy: MapCleanup
    generations: Generations
    _last: float = -inf
    _retired: int | None = None
    _frozen: bool = False

    def before_reading(self, tallies: Sequence[Tally], now: float) -> None:
        """Retire what is in the maps when that is due. ``now``: monotonic seconds."""
        # what was retired at the last reading has had a whole interval, and no program runs that long
        if self._retired is not None:
            self._frozen = True
        elif self._due(tallies, now):
            self._last = now
            self._retired = self.generations.flip()
            self._frozen = self.generations.settled()

    def after_reading(self, tallies: Sequence[Tally], keys: Sequence[Keys]) -> None:
        """Remove the retired entries, whose final values have been read. ``keys``: of each tally's reading."""
        if self._retired is None or not self._frozen:
            return
        for tally, read in zip(tallies, keys, strict=True):
            tally.clear(read[read["generation"] == self._retired])
        self._retired = None

    def _due(self, tallies: Sequence[Tally], now: float) -> bool:
        if self._last == -inf:
            self._last = now
        if self.policy.strategy == "no_cleanup" or now - self._last < self.policy.interval:
            return False
        return self.policy.strategy == "clear_after_read" or any(tally.has_stale_entries(now) for tally in tallies)
