# SPDX-License-Identifier: Apache-2.0
"""The first points of a frame as objects, which is cheap enough for what a terminal shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ebpf_sidecar.pipeline.frame import Frame, Kind


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a frame. ``value``: a number, or the counts of a histogram's buckets; ``sum`` is the histogram's."""

    attributes: Mapping[str, Any]
    value: Any
    start_time_unix_nano: int
    sum: float | None = None

    @property
    def count(self) -> int:
        """The number of observations in a histogram's point."""
        return int(sum(self.value))


def first_points(frame: Frame, limit: int) -> list[Point]:
    """At most ``limit`` points, from the first row on."""
    few = frame.take(np.arange(min(limit, len(frame))))
    sums = few.sums.tolist() if few.kind is Kind.HISTOGRAM and few.sums is not None else [None] * len(few)
    rows = zip(few.rows.records(), few.values.tolist(), few.start_times().tolist(), sums, strict=True)
    return [Point(*row) for row in rows]
