# SPDX-License-Identifier: Apache-2.0
"""Whether numbers taken over time grow: a straight line through them, and their shape in one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Trend:
    """A line by least squares. ``growth``: by how much it rises from the first to the last moment."""

    first: float
    last: float
    lowest: float
    highest: float
    growth: float
    an_hour: float


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """The line through ``values`` taken at ``seconds``."""
    slope = float(np.polyfit(np.array(seconds) - seconds[0], np.array(values), 1)[0])
    growth = slope * (seconds[-1] - seconds[0])
    return Trend(values[0], values[-1], min(values), max(values), growth, 3600 * slope)


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The values' shape: means of as many stretches, from the lowest to the highest."""
    means = [float(np.mean(part)) for part in np.array_split(np.array(values), min(width, len(values)))]
    low, span = min(means), max(means) - min(means)
    return "".join(BARS[round((mean - low) / span * (len(BARS) - 1)) if span else 0] for mean in means)
