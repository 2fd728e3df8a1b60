# SPDX-License-Identifier: Apache-2.0
"""Keeps a page within a number of series: rows of the least active processes are folded, see `Folding`."""

from __future__ import annotations

from ebpf_sidecar.pipeline.cardinality.folding import Folding
from ebpf_sidecar.pipeline.frame import Frame, Frames
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.metric_info import gauge

from .names import MetricNames
from .page_limit import PageExtras, PointCost

RESERVED_SERIES = 300
"""The number of series reserved for the service's own metrics and for ``target_info``."""
MIN_SERIES = 1000
FOLDED = gauge(
    "ebpf_sidecar.exporter.folded_processes",
    "{process}",
    'Process names of a cgroup that share a row called "other", because of fold_beyond',
    "component",
)
OVERFLOWED = gauge(
    "ebpf_sidecar.exporter.overflowed_rows",
    "{row}",
    "Rows that counted something in the last reading and share the overflow row, because of fold_beyond",
    "component",
)
METRICS = (FOLDED, OVERFLOWED)
_ANY = MetricNames("", "", "", "")
_FOLDED = (
    'fold_beyond: %d process names share a row called "other" of their cgroup, so that the page keeps within %d '
    "series; no count is lost, and ebpf_sidecar_exporter_folded_processes shows how many they are"
)
_OVERFLOWED = (
    'fold_beyond: %d rows share one with the label otel_metric_overflow="true", because the page may have only %d '
    "series; no count is lost, but their cgroups are; raise fold_beyond, or choose with the receiver's targets"
)


class ProcessLimit:
    """Folds rows beyond ``most`` series (None: no limit). ``expiration``: of the page, in seconds."""

    def __init__(self, most: int | None, expiration: float, extra: PageExtras, context: Context) -> None:
        self._most, self._extra, self._context = most, extra, context
        self._warned = {_FOLDED: False, _OVERFLOWED: False}
        self._folding = (
            None if most is None else Folding(most - RESERVED_SERIES, expiration, self._series, self._failed)
        )

    def _series(self, frame: Frame) -> int:
        """The number of series per row of the frame."""
        return PointCost.of(_ANY, frame.kind, frame.bounds, "", self._extra).series

    def publish(self) -> None:
        """Publish the number of folded rows as metrics of the service."""
        folding = self._folding
        if folding is None:
            return
        observe = self._context.telemetry.observe
        observe(*FOLDED.instrument, lambda: folding.folded)
        observe(*OVERFLOWED.instrument, lambda: folding.overflowed)

    def within(self, frames: Frames, now: float) -> Frames:
        """The frames of a batch to show on the page. ``now``: monotonic seconds."""
        if self._folding is None:
            return frames
        folded = self._folding.fold(frames, now)
        self._warn_once(_FOLDED, self._folding.folded)
        self._warn_once(_OVERFLOWED, self._folding.overflowed)
        return folded

    def _warn_once(self, message: str, number: int) -> None:
        """Log a message once."""
        if number and not self._warned[message]:
            self._warned[message] = True
            self._context.logger.warning(message, number, self._most)

    def _failed(self, cause: Exception) -> None:
        self._context.telemetry.error("folding", cause)
