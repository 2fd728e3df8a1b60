# SPDX-License-Identifier: Apache-2.0
"""Computes percentages and per-second rates of counters over the last interval, in addition to the counters.

Percentages, if their counters are present: ``ebpf.cache.hit_rate`` and ``ebpf.cache.miss_rate`` of reads,
``ebpf.cache.mapped_hit_rate`` and ``ebpf.cache.mapped_miss_rate`` of faults on mapped files,
``ebpf.fadvise.success_rate``, ``ebpf.memory.reclaim_efficiency``. Rates on request: ``<name>.rate`` for each metric in
``metrics``; a histogram's is the number of observations per second. Put it after the processors that add attributes to
rows. With Prometheus, its own ``rate()`` is the better choice; these rates are for back ends that cannot compute them.

An interval ends with each batch. There are no rates in the first one, none for rows in which nothing could be
measured (they leave the page of ``prometheus`` with the previous interval), and never negative ones: a counter that
restarts counts from its new start time.

    processors:
      rate: {metrics: [ebpf.block.io.size, "ebpf.syscall.*"]}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import StringConstraints

from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.increase import Increase, Increases
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.streams import Origin, Stream
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .percentages import INPUTS, PERCENTAGES, PercentageRows, gauge, percentage_metrics
from .subset import Subset

_COUNTING = (Kind.COUNTER, Kind.HISTOGRAM)
_WARN_AFTER_BATCHES = 3


class RateSettings(Settings):
    """What is computed from the counters."""

    percentages: bool = True
    """Compute the percentages of the page cache, of fadvise and of memory reclaim."""
    metrics: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """Names of counters and histograms, or patterns with ``*``, ``?`` and ``[…]``, that get a per-second rate."""


class RateProcessor:
    """Adds gauges to the frames; the frames themselves pass unchanged."""

    def __init__(self, settings: RateSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._increases = Increases(self._report)
        self._late = False
        self._requested: dict[str, bool] = {}
        self._percentages: dict[Origin, list[PercentageRows]] = {}
        self._subsets: dict[Stream, Subset] = {}
        self._batches = 0

    def process(self, frames: Frames) -> Frames:
        """The frames, followed by the computed gauges."""
        self._forget(self._increases.batch(frames))
        measured = {
            frame.stream: (frame, increase)
            for frame in frames
            if self._is_input(frame) and (increase := self._increases.of(frame)) is not None
        }
        self._report_recovery()
        self._warn_unknown(frames)
        return [*frames, *self._percentage_frames(measured), *self._rate_frames(measured.values())]

    def _forget(self, gone: Iterable[Stream | Origin]) -> None:
        for key in gone:
            if isinstance(key, Stream):
                self._subsets.pop(key, None)
                self._requested.pop(key.metric, None)
            else:
                self._percentages.pop(key, None)

    def _report(self, problem: str) -> None:
        self._late = True
        self._context.telemetry.error("clock", problem)

    def _report_recovery(self) -> None:
        if not self._late:
            self._context.telemetry.recovered("clock")
        self._late = False

    def _is_input(self, frame: Frame) -> bool:
        of_percentage = self._settings.percentages and frame.name in INPUTS
        return frame.kind in _COUNTING and (of_percentage or self._is_requested(frame.name))

    def _is_requested(self, name: str) -> bool:
        if name not in self._requested:
            self._requested[name] = any(fnmatchcase(name, pattern) for pattern in self._settings.metrics)
        return self._requested[name]

    def _percentage_frames(self, measured: Mapping[Stream, tuple[Frame, Increase]]) -> Iterator[Frame]:
        if not self._settings.percentages:
            return
        by_origin: dict[Origin, dict[str, tuple[Frame, Increase]]] = {}
        for stream, pair in measured.items():
            by_origin.setdefault(stream.origin, {})[stream.metric] = pair
        for origin, metrics in by_origin.items():
            kept = self._percentages.setdefault(origin, [PercentageRows(percentage) for percentage in PERCENTAGES])
            for percentage in kept:
                yield from percentage.frames(metrics)

    def _rate_frames(self, measured: Iterable[tuple[Frame, Increase]]) -> Iterator[Frame]:
        for frame, increase in measured:
            timed = increase.seconds > 0
            if not self._is_requested(frame.name) or not timed.any():
                continue
            rows = self._subsets.setdefault(frame.stream, Subset()).of(frame.rows, timed)
            rates = increase.amounts[timed] / increase.seconds[timed]
            unit = "1/s" if frame.kind is Kind.HISTOGRAM else f"{frame.unit or 1}/s"
            description = f"Per second in the last interval: {frame.description or frame.name}"
            yield gauge(frame, rows, rates, f"{frame.name}.rate", text=description, unit=unit)

    def _warn_unknown(self, frames: Frames) -> None:
        """Warn once about patterns that match no metric. They may be right: metrics appear with their first event."""
        self._batches += bool(frames)
        if self._batches != _WARN_AFTER_BATCHES or not frames:
            return
        names = {frame.name for frame in frames if frame.kind in _COUNTING}
        for pattern in self._settings.metrics:
            if not any(fnmatchcase(name, pattern) for name in names | self._requested.keys()):
                hint = did_you_mean(pattern, names)
                self._context.logger.warning(
                    'metrics: no counter or histogram "%s" has arrived so far%s', pattern, hint
                )


@hookimpl
def register_components() -> Sequence[Factory]:
    """The processor ``rate``."""
    return [
        Factory.processor(
            "rate",
            RateProcessor,
            RateSettings,
            stability=Stability.BETA,
            description="Computes hit, success and efficiency percentages, and per-second rates on request",
            metrics=percentage_metrics,
        )
    ]
