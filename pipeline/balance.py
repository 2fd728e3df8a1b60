# SPDX-License-Identifier: Apache-2.0
"""What became of the data points that were passed to an exporter, at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Balance:
    """An exporter's account since it was created, in data points.

    ``offered``: passed to it. ``restored``: left in its queue by an earlier process. ``queued``: waiting.
    ``in_flight``: being delivered. ``dropped`` and ``filtered``: left out with and without a loss, by reason.
    """

    offered: int = 0
    restored: int = 0
    delivered: int = 0
    queued: int = 0
    in_flight: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    filtered: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Balance) -> Balance:
        """Both accounts as one."""
        return Balance(
            self.offered + other.offered,
            self.restored + other.restored,
            self.delivered + other.delivered,
            self.queued + other.queued,
            self.in_flight + other.in_flight,
            dict(Counter(self.dropped) + Counter(other.dropped)),
            dict(Counter(self.filtered) + Counter(other.filtered)),
        )

    @property
    def difference(self) -> int:
        """Points of which nobody knows what became of them: 0, or there is a bug."""
        outcomes = sum(self.dropped.values()) + sum(self.filtered.values())
        return self.offered + self.restored - self.delivered - self.queued - self.in_flight - outcomes
