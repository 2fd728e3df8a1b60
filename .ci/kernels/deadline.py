# SPDX-License-Identifier: Apache-2.0
"""The time within which everything must be done, however long its parts take."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """``seconds`` from now."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._end, self._now = seconds, now() + seconds, now

    def left(self, at_most: float = float("inf")) -> float:
        """Seconds that may still be taken, never negative."""
        return max(0.0, min(at_most, self._end - self._now()))
