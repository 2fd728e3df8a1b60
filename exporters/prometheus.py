# SPDX-License-Identifier: Apache-2.0
"""Exporter ``prometheus``: serves the latest value of every metric for Prometheus to scrape.

Text format 0.0.4 or OpenMetrics 1.0, as the scraper requests, compressed if it accepts that. Several exporters may use
the same endpoint with different paths. The service's own metrics are at the end of the page. If series of two receivers
have the same labels, those of one are shown, and the others are counted as dropped (``duplicate series``).

A page has at most ``fold_beyond`` series. If there would be more, the least active process names (by time and bytes of
the last minutes) share rows: one for each cgroup, with ``process_executable_name="other"``, and beyond that one for
all, with only the label ``otel_metric_overflow="true"``. The three most active names of each cgroup come first. No
count is lost: in every interval the increases of all rows add up to what was counted, and no counter decreases. A name
that becomes active starts at 0, and its earlier counts stay in ``other``. One that becomes inactive keeps its last
value until ``metric_expiration``, and its further counts go to ``other``. Gauges that can be added (counts, bytes) are
summed; percentages of shared rows are absent: divide the counters.

    exporters:
      prometheus: {endpoint: 127.0.0.1:18080}
      prometheus/short: {endpoint: ":9090", label_names: short, const_labels: {cluster: blue}}
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal
from weakref import WeakKeyDictionary

from pydantic import Field, field_validator

from ebpf_sidecar.exporters.exposition.families import Families, FrameRejectedError
from ebpf_sidecar.exporters.exposition.labels import LabelTable, LabelWriter
from ebpf_sidecar.exporters.exposition.names import MetricNames, label_name, metric_name
from ebpf_sidecar.exporters.exposition.negotiation import takes_created, wants_gzip, wants_openmetrics
from ebpf_sidecar.exporters.exposition.own_metrics import without_names
from ebpf_sidecar.exporters.exposition.page import OPENMETRICS_TYPE, TEXT_TYPE, Format
from ebpf_sidecar.exporters.exposition.page_limit import PageExtras, PageLimit
from ebpf_sidecar.exporters.exposition.page_limit_report import METRICS as FULLNESS
from ebpf_sidecar.exporters.exposition.page_limit_report import PageLimitReport, PageLimitSettings
from ebpf_sidecar.exporters.exposition.process_limit import METRICS as FOLDING
from ebpf_sidecar.exporters.exposition.process_limit import MIN_SERIES, ProcessLimit
from ebpf_sidecar.exporters.exposition.rendered_page import RenderedPage
from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.endpoint import Endpoint, Listening, UrlPath
from ebpf_sidecar.pipeline.frame import Frame, Frames
from ebpf_sidecar.pipeline.histogram_bounds import HistogramBounds, chosen
from ebpf_sidecar.pipeline.host import Context, Request, Response
from ebpf_sidecar.pipeline.payload import LeftOut
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.resource import Resource
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.pipeline.settings import Interval, Settings
from ebpf_sidecar.pipeline.streams import Origin

_ANY = Resource()
"""Stands for all resources if they are not labels."""
_MAX_LOGGED = 100
"""The most problems that are logged at a time; further ones are only counted."""


class ResourceConversion(Settings):
    """Whether each sample has the resource's attributes."""

    enabled: bool = False
    """Add every resource attribute to every sample as a label, in addition to ``target_info``."""


class PrometheusSettings(Settings):
    """Where and how metrics are served."""

    endpoint: Endpoint = "127.0.0.1:18080"
    """Where to listen, as ``host:port``; ``:port`` means all addresses."""
    path: UrlPath = "/metrics"
    """The page's path."""
    const_labels: dict[str, str] = {}  # noqa: RUF012 # pydantic copies defaults
    """Labels of every sample; they override attributes with the same name."""
    metric_expiration: Interval = 300.0
    """How long a counter or histogram that is no longer reported keeps its last value on the page; a gauge disappears
    after the first interval without it."""
    start_at_zero: bool = True
    """Show a new counter or histogram as 0 until it is scraped, for at most two collection intervals."""
    fold_beyond: int | None = Field(default=9_000, ge=MIN_SERIES, le=100_000_000)
    """The number of series above which rows of the least active processes are folded, see above. About 300 are
    reserved for the service's own metrics. null: never."""
    histogram_bounds: HistogramBounds = "default"
    """Which buckets are shown. ``default``: about ten per histogram, chosen for what it measures; ``full``: all of
    them; or a list of durations and sizes (powers of two of nanoseconds and bytes), as in
    ``[65.536us, 1.048576ms, 4KiB]``: a histogram with none of them gets its default ones. Counts of omitted buckets
    are added to the next bucket, so counts and sums stay exact."""
    page_limit: PageLimitSettings = PageLimitSettings()
    """The maximum size of the page."""
    label_names: Literal["semantic", "short"] = "semantic"
    """``semantic``: k8s_pod_name and so on; ``short``: namespace, pod, container and node, as in Kubernetes."""
    send_timestamps: bool = False
    """Write the time at which each value was read; otherwise Prometheus uses the time of its scrape."""
    created_timestamps: Literal["auto"] | bool = "auto"
    """OpenMetrics only: write the start time of each counter and histogram (``_created``); ``auto``: for a Prometheus
    that uses it."""
    add_metric_suffixes: bool = True
    """Append unit and ``_total`` to names, as Prometheus recommends."""
    resource_to_telemetry_conversion: ResourceConversion = ResourceConversion()
    """The resource's attributes as labels of each sample."""

    @field_validator("const_labels")
    @classmethod
    def _labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for label in labels:
            if label_name(label) != label:
                raise ValueError(f'"{label}" cannot be a label; write "{label_name(label)}"')
        return labels


class PrometheusExporter:
    """Keeps the latest value of each series and renders the page when it is scraped."""

    def __init__(self, settings: PrometheusSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._lock = threading.Lock()
        extra = PageExtras(settings.send_timestamps, settings.created_timestamps)
        limit = PageLimit(settings.page_limit.limit(), extra)
        start = context.clock.time_ns() if settings.start_at_zero else None
        self._families, self._limit_report = Families(start, limit), PageLimitReport(limit, context)
        most = None if settings.fold_beyond is None else min(settings.fold_beyond, max(MIN_SERIES, limit.most.series))
        self._processes = ProcessLimit(most, settings.metric_expiration, extra, context)
        self._tables: WeakKeyDictionary[RowSet, dict[Mapping[str, str], LabelTable]] = WeakKeyDictionary()
        self._resources: dict[Mapping[str, str], float] = {}
        self._logged: dict[tuple[object, ...], float] = {}
        self._rendered = {
            kind: RenderedPage(Format(openmetrics=kind[0], timestamps=settings.send_timestamps, created=kind[1]))
            for kind in ((False, False), (True, False), (True, True))
        }

    def start(self) -> None:
        """Serve the page. Raises `SidecarError` if the endpoint cannot be opened."""
        self._limit_report.publish()
        self._processes.publish()
        self._context.routes.add(self._settings.endpoint, self._settings.path, self.scrape)
        self._context.logger.info("serving http://%s%s", self._settings.endpoint, self._settings.path)

    def shutdown(self) -> None:
        """Stop serving the page."""
        self._context.routes.remove(self._settings.endpoint, self._settings.path)

    def export(self, frames: Frames) -> Sequence[LeftOut]:
        """Keep the latest value of each series. Points that cannot be shown are logged and returned."""
        now = self._context.clock.monotonic()
        frames = [self._merged(frame) for frame in frames]
        with self._lock:
            shown = self._processes.within(frames, now)
            self._families.begin(shown, now)
            self._families.measure()
            left_out = [part for frame in shown for part in self._keep(frame, now)]
            self._expire(now)
            self._clear()
            self._limit_report.report()
        return left_out

    def _merged(self, frame: Frame) -> Frame:
        """The frame with the buckets that are shown."""
        try:
            return chosen(frame, self._settings.histogram_bounds)
        except Exception as cause:  # noqa: BLE001 # whatever is wrong with one frame, the others stay on the page
            self._context.telemetry.error("histogram bounds", cause)
            return frame

    def _keep(self, frame: Frame, now: float) -> list[LeftOut]:
        """Which of the frame's points are not on the page."""
        try:
            reasons = self._put(frame, now)
        except FrameRejectedError as refusal:
            reasons = {refusal.reason: len(frame)}
            self._log_once((frame.name,), str(refusal), now)
        except Exception as cause:  # noqa: BLE001 # whatever is wrong with one frame, the others stay on the page
            reasons = {"cannot be rendered": len(frame)}
            self._context.telemetry.error("sending", cause)
        return [LeftOut(points, reason, lost=True) for reason, points in reasons.items() if points]

    def _log_once(self, what: tuple[object, ...], text: str, now: float) -> None:
        """Log a problem once, and again after it was absent for ``metric_expiration``."""
        if what not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._context.logger.warning("%s", text)
        if what in self._logged or len(self._logged) < _MAX_LOGGED:
            self._logged[what] = now

    def _put(self, frame: Frame, now: float) -> dict[str, int]:
        """Add a frame; returns how many of its series are not shown, by reason."""
        resource = frame.resource or self._context.resource
        name = metric_name(frame.name, frame.unit, frame.kind, suffixes=self._settings.add_metric_suffixes)
        table = self._table(frame, name, resource)
        collapsed = len(frame) - len(table.blocks)
        duplicates = self._families.put(name, frame, table)
        for origin in duplicates.taken:
            self._log_once((frame.stream.origin, origin), _duplicates_message(frame, origin), now)
        self._resources[resource] = now
        return {"duplicate series": collapsed + duplicates.number, "page limit": duplicates.beyond}

    def _table(self, frame: Frame, name: MetricNames, resource: Mapping[str, str]) -> LabelTable:
        labelled = self._settings.resource_to_telemetry_conversion.enabled
        tables = self._tables.setdefault(frame.rows, {})
        key = resource if labelled else _ANY
        if key not in tables:
            short = self._settings.label_names == "short"
            constants = {label_name(k, short=short): v for k, v in key.items()}
            writer = LabelWriter({**constants, **self._settings.const_labels}, short)
            tables[key] = writer.table(frame.rows, self._families.table(name, frame.stream))
        return tables[key]

    def _expire(self, now: float) -> None:
        before = now - self._settings.metric_expiration
        if self._families.end_silent(now, self._context.clock.time_ns(), self._settings.metric_expiration):
            self._clear()
        if self._families.oldest() < before:
            self._families.expire(before)
            self._clear()
        self._resources = {resource: seen for resource, seen in self._resources.items() if seen >= before}
        self._logged = {what: seen for what, seen in self._logged.items() if seen >= before}

    def _clear(self) -> None:
        for rendered in self._rendered.values():
            rendered.clear()

    def scrape(self, request: Request) -> Response:
        """The page, in the format and encoding that the request accepts."""
        accept, created = request.headers.get("accept", ""), self._settings.created_timestamps
        openmetrics = wants_openmetrics(accept)
        created = openmetrics and (takes_created(accept) if created == "auto" else created)
        packed = wants_gzip(request.headers.get("accept-encoding", ""))
        headers = {"Content-Type": OPENMETRICS_TYPE if openmetrics else TEXT_TYPE, "Vary": "Accept, Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(self._page(self._rendered[openmetrics, created], packed=packed), headers=headers)

    def _page(self, rendered: RenderedPage, *, packed: bool) -> bytes:
        with self._lock:
            self._expire(self._context.clock.monotonic())
            page = self._fresh(rendered, packed=packed)
        if page is not None:
            return page
        own = self._own_metrics(rendered.format.openmetrics)  # outside the lock: it reads other components' gauges
        with self._lock:
            page = self._fresh(rendered, packed=packed)
            if page is not None:  # rendered for another scraper while this one waited for the lock
                return page
            self._families.scrapes += 1
            tail = without_names(own, self._families.names()) + (b"# EOF\n" if rendered.format.openmetrics else b"")
            return rendered.page(self._render, tail, self._context.clock.monotonic, packed=packed)

    def _fresh(self, rendered: RenderedPage, *, packed: bool) -> bytes | None:
        page = rendered.fresh(self._context.clock.monotonic(), packed=packed)
        self._families.scrapes += page is not None
        return page

    def _own_metrics(self, openmetrics: bool) -> bytes:  # noqa: FBT001 # the context's own signature
        try:
            return self._context.internal_telemetry(openmetrics)
        except Exception as cause:  # noqa: BLE001 # the kernel's numbers are served even when our own cannot be
            self._context.telemetry.error("self metrics", cause)
            return b""

    def _render(self, form: Format) -> Iterator[bytes]:
        yield form.target_info(self._resources or [self._context.resource])
        for family in self._families:
            try:
                pieces = form.family(family)
            except Exception as cause:  # noqa: BLE001 # whatever is wrong with one metric, the others are served
                self._context.telemetry.error("rendering", cause)
            else:
                yield from pieces


def _duplicates_message(frame: Frame, other: Origin) -> str:
    """The message if another origin has series with the same labels as the frame."""
    mine = frame.stream.origin
    # usually the receivers differ; one that forwards data of several senders has several resources
    owner = f'receiver "{other.source}"' if other.source != mine.source else f"resource {dict(other.resource)}"
    return (
        f'receiver "{mine.source}": series with labels that {owner} uses already are left out (metric "{frame.name}" '
        "and perhaps others); add an attribute to the rows of one of them, or use an exporter for each"
    )


FACTORY = Factory.exporter(
    "prometheus",
    PrometheusExporter,
    PrometheusSettings,
    stability=Stability.BETA,
    description="Serves the latest value of every metric to Prometheus, as text 0.0.4 or OpenMetrics 1.0",
    claims=lambda settings: [Listening(settings.endpoint, settings.path)],
    metrics=lambda _: (*FULLNESS, *FOLDING),
)


@hookimpl
def register_components() -> tuple[Factory, ...]:
    """The exporter."""
    return (FACTORY,)
