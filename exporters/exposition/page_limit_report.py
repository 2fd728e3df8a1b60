# SPDX-License-Identifier: Apache-2.0
"""Reports how full a page is: as gauges, and in the log when it is nearly full or full."""

from __future__ import annotations

from pydantic import Field

from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.metric_info import gauge
from ebpf_sidecar.pipeline.settings import Bytes, Settings

from .page_limit import REARM_BELOW, WARN_AT, PageLimit, PageSize

_PREFIX = "ebpf_sidecar.exporter.page"
SERIES = gauge(f"{_PREFIX}_series", "{series}", "Series on the page, without the service's own", "component")
MOST_SERIES = gauge(f"{_PREFIX}_series_limit", "{series}", "Series that the page may have", "component")
BYTES = gauge(f"{_PREFIX}_size", "By", "Maximum bytes of the current page, before compression", "component")
MOST_BYTES = gauge(f"{_PREFIX}_size_limit", "By", "Bytes that the page may have", "component")
METRICS = (SERIES, MOST_SERIES, BYTES, MOST_BYTES)
_REPAIR = (
    "raise page_limit, let more names share rows (fold_beyond), show fewer buckets (histogram_bounds), or collect less "
    "(targets, group_by and probes of the receiver ebpf)"
)


class PageLimitSettings(Settings):
    """The maximum size of a page."""

    series: int = Field(default=50_000, ge=1)
    """The most series, as Prometheus counts them: lines that are not comments. A warning is logged at 80 %. New series
    that do not fit are left out and counted as dropped (``page limit``); existing series continue."""
    size: Bytes = 16 * 2**20
    """The limit in bytes before compression, each number counted in its longest form."""

    def limit(self) -> PageSize:
        """Both limits."""
        return PageSize(self.series, max(1, self.size))


class PageLimitReport:
    """Reports on one page. Call ``report`` after each export."""

    def __init__(self, limit: PageLimit, context: Context) -> None:
        self._limit, self._telemetry, self._logger = limit, context.telemetry, context.logger
        self._near = self._full = False

    def publish(self) -> None:
        """Publish size and limits as metrics of the service."""
        limit, observe = self._limit, self._telemetry.observe
        observe(*SERIES.instrument, lambda: limit.used.series)
        observe(*MOST_SERIES.instrument, lambda: limit.most.series)
        observe(*BYTES.instrument, lambda: limit.used.bytes)
        observe(*MOST_BYTES.instrument, lambda: limit.most.bytes)

    def report(self) -> None:
        """Log what changed."""
        share, full = self._limit.share(), bool(self._limit.left_out)
        if full and not self._full:
            self._logger.warning(
                "the page is full (%s): %d new series are left out and counted as dropped; %s",
                self._usage(), self._limit.left_out, _REPAIR,
            )  # fmt: skip
        elif share >= WARN_AT and not self._near and not full:
            self._logger.warning(
                "the page is nearly full (%s): new series that do not fit will be left out; %s", self._usage(), _REPAIR
            )
        elif self._full and not full:
            self._logger.info("the page has room again for all series (%s)", self._usage())
        self._full = full
        self._near = share >= WARN_AT or (self._near and share >= REARM_BELOW)

    def _usage(self) -> str:
        used, most = self._limit.used, self._limit.most
        size = f"{used.bytes / 2**20:.1f} of {most.bytes / 2**20:.1f} MiB"
        return f"{used.series:,} of {most.series:,} series, {size}"
