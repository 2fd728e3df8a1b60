# SPDX-License-Identifier: Apache-2.0
"""At most so many series on a page: see `Folding`, which decides what shares a row. Here series are counted."""

from __future__ import annotations

from math import isinf

from ...pipeline.cardinality.folding import Folding
from ...pipeline.component import Context
from ...pipeline.frame import Frame, Frames, Kind

OWN_SERIES = 300
"""How many are kept for the service's own metrics at the end of the page and for ``target_info``."""
LEAST = 1000
_FOLDED = (
    'max_series: %d process names share a row called "other" of their cgroup, so that the page keeps within %d series; '
    "no count is lost, and ebpf_sidecar_exporter_folded_processes shows how many they are"
)
_OVERFLOWED = (
    'max_series: %d rows share one with the label otel_metric_overflow="true", because the page may have only %d '
    "series; no count is lost, but their cgroups are; raise max_series, or choose with the receiver's targets"
)


def series_of(frame: Frame, *, created: bool) -> int:
    """How many series each row of the frame has on a page. ``created``: with ``_created`` samples."""
    counting = created and frame.kind in (Kind.COUNTER, Kind.HISTOGRAM)
    if frame.bounds is None:
        return 1 + counting
    infinite = len(frame.bounds) and isinf(frame.bounds[-1])
    return len(frame.bounds) + 3 - bool(infinite) + counting


class SeriesLimit:
    """Keeps a page within ``most`` series, None for any number. ``expiration``: of the page, in seconds."""

    def __init__(self, most: int | None, expiration: float, context: Context, *, created: bool) -> None:
        self._most, self._context = most, context
        self._told = {_FOLDED: False, _OVERFLOWED: False}
        if most is None:
            return
        self._folding = Folding(
            most - OWN_SERIES, expiration, lambda frame: series_of(frame, created=created), self._failed
        )
        observe, prefix = context.telemetry.observe, "ebpf_sidecar.exporter"
        observe(
            f"{prefix}.page_series",
            "{series}",
            "Series on the page or kept free for overflow rows, without the service's own",
            lambda: self._folding.used,
        )
        observe(
            f"{prefix}.folded_processes",
            "{process}",
            'Process names of a cgroup that share a row called "other", because of max_series',
            lambda: self._folding.folded,
        )
        observe(
            f"{prefix}.overflowed_rows",
            "{row}",
            "Rows that share the overflow row, because of max_series",
            lambda: self._folding.overflowed,
        )

    def within(self, frames: Frames, now: float) -> Frames:
        """What to put on the page of a batch. ``now``: monotonic seconds."""
        if self._most is None:
            return frames
        folded = self._folding.fold(frames, now)
        self._tell(_FOLDED, self._folding.folded)
        self._tell(_OVERFLOWED, self._folding.overflowed)
        return folded

    def _tell(self, message: str, number: int) -> None:
        """Log it once."""
        if number and not self._told[message]:
            self._told[message] = True
            self._context.logger.warning(message, number, self._most)

    def _failed(self, cause: Exception) -> None:
        self._context.telemetry.error("folding", cause)
