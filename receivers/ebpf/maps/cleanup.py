# SPDX-License-Identifier: Apache-2.0
"""Decides when and how kernel maps are cleared: by generations, so that nothing is lost (see generation.py).

The next generation starts before a reading; that reading finds the retired entries frozen, and they are removed after
it. If the kernel offers no way to wait for running programs, they are removed after the next reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from ebpf_sidecar.pipeline.component import MapCleanup

from .layout import Keys
from .map_totals import MapTotals


class Generations(Protocol):
    """See generation.Generation."""

    def flip(self) -> int:
        """Start the next generation and return the retired one."""
        ...

    def settled(self) -> bool:
        """Wait until no program can write to the retired generation; False if that cannot be known."""
        ...


@dataclass
class Cleaning:
    """Follows a `MapCleanup` over the readings of some maps."""

    policy: MapCleanup
    generations: Generations
    _last: float = -inf
    _retired: int | None = None
    _frozen: bool = False

    def before_reading(self, all_totals: Sequence[MapTotals], now: float) -> None:
        """Retire the entries in the maps if due. ``now``: monotonic seconds."""
        # entries retired at the last reading are a whole interval old, and no program runs that long
        if self._retired is not None:
            self._frozen = True
        elif self._due(all_totals, now):
            self._last = now
            self._retired = self.generations.flip()
            self._frozen = self.generations.settled()

    def after_reading(self, all_totals: Sequence[MapTotals], keys: Sequence[Keys]) -> None:
        """Remove the retired entries, whose final values have been read. ``keys``: those read from each map."""
        if self._retired is None or not self._frozen:
            return
        for map_totals, read in zip(all_totals, keys, strict=True):
            map_totals.clear(read[read["generation"] == self._retired])
        self._retired = None

    def _due(self, all_totals: Sequence[MapTotals], now: float) -> bool:
        if self._last == -inf:
            self._last = now
        if self.policy.strategy == "no_cleanup" or now - self._last < self.policy.interval:
            return False
        return self.policy.strategy == "clear_after_read" or any(
            map_totals.has_stale_entries(now) for map_totals in all_totals
        )
