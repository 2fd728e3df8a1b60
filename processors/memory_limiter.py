# SPDX-License-Identifier: Apache-2.0
"""Keeps the service below a memory limit: refuses batches, and gives up queued ones in a declared order.

The settings are those of the OpenTelemetry Collector. Put it first in a pipeline, before anything works on a batch.

* Above the soft limit (the limit without ``spike_limit_mib``) unused memory is given back. If that is not enough,
  batches are refused: clients are told when to try again, and kernel maps go on counting, so that the first batch that
  is accepted again has everything in its totals.
* Above the limit itself, or when batches were refused for 30 s, the queues of ``shed`` also lose their oldest batches
  (dropped, reason ``memory_limit``) until memory is below the soft limit.

What counts is the resident memory of all processes of the service, read with a batch and at most every
``check_interval``; kernel maps are not part of it, and have their own limit, ``max_map_memory``. An exporter whose page
must not wait (``prometheus``) has a second pipeline, without a limiter.

    processors:
      memory_limiter: {limit_mib: 200, spike_limit_mib: 40, shed: [exporters/otlp]}
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.errors import RefusedError
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.host import Context, SheddableQueue
from ebpf_sidecar.pipeline.limiter_settings import LimiterSettings
from ebpf_sidecar.pipeline.metric_info import MetricInfo, gauge
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.process.heap import release_free_memory
from ebpf_sidecar.pipeline.settings import Interval

from .queue_shedding import shed
from .service_memory import ServiceMemory, available

_MIB = 1 << 20
_DEFAULT_SPIKE = 5  # a fifth of the limit, as in the Collector
_MAX_MIB = 1 << 40
_COLLECTION_SECONDS = 10.0  # between two collections while batches are only refused, as in the Collector
_MAX_REFUSING_SECONDS = 30.0
_USAGE = gauge(
    "ebpf_sidecar.memory_limiter.usage", "By", "Resident memory of all processes of the service", "component"
)
_LIMIT = gauge(
    "ebpf_sidecar.memory_limiter.limit", "By", "The memory limit, at which queued batches are given up", "component"
)
_SOFT_LIMIT = gauge(
    "ebpf_sidecar.memory_limiter.soft_limit", "By", "The memory from which batches are refused", "component"
)
_ONE_AT_A_TIME = threading.Lock()
"""Several pipelines limit the same memory: the second looks at what the first has freed."""


class MemoryLimiterSettings(LimiterSettings):
    """How much memory the service may use, and what happens above that."""

    check_interval: Interval = 1.0
    """The shortest time between two checks; refused clients are asked to wait as long."""
    limit_mib: int = Field(default=0, ge=0, le=_MAX_MIB)
    """The limit in MiB; ``0``: ``limit_percentage`` applies."""
    spike_limit_mib: int = Field(default=0, ge=0, le=_MAX_MIB)
    """How much memory may grow between two checks. Batches are refused from ``limit_mib`` minus this on; ``0``: a fifth
    of the limit."""
    limit_percentage: int = Field(default=0, ge=0, le=100)
    """The limit as a percentage of the cgroup's memory limit, or of the machine's memory if there is none.
    ``limit_mib`` takes precedence."""
    spike_limit_percentage: int = Field(default=0, ge=0, le=100)
    """The same as ``spike_limit_mib`` for ``limit_percentage``; ``0``: a fifth of the limit."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if not self.limit_mib and not self.limit_percentage:
            raise ValueError("there is no limit; set limit_mib or limit_percentage")
        return self

    @model_validator(mode="after")
    def _is_above_its_spike(self) -> Self:
        for unit in ("mib", "percentage"):
            limit, spike = getattr(self, f"limit_{unit}"), getattr(self, f"spike_limit_{unit}")
            if spike and not limit:
                raise ValueError(f'spike_limit_{unit} "{spike}" has no limit_{unit}; set it, or remove the spike limit')
            if spike and spike >= limit:
                above = f'spike_limit_{unit} "{spike}" is not below limit_{unit} "{limit}"'
                raise ValueError(f"{above}; lower it, or raise limit_{unit}")
        return self


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes: batches are refused from ``soft`` on, and queues are given up from ``hard`` on."""

    hard: int
    soft: int

    @classmethod
    def of(cls, settings: MemoryLimiterSettings, total: Callable[[], int]) -> Limits:
        """The limits that are configured; ``total``: the bytes of which percentages are meant."""
        if settings.limit_mib:
            hard, spike = settings.limit_mib * _MIB, settings.spike_limit_mib * _MIB
        else:
            each = total() / 100
            hard, spike = int(settings.limit_percentage * each), int(settings.spike_limit_percentage * each)
        return cls(hard, hard - (spike or hard // _DEFAULT_SPIKE))


def give_back() -> None:
    """Free what only cycles of objects hold."""
    gc.collect()
    release_free_memory()


class MemoryLimiter:
    """Passes frames on, or refuses them. ``collect`` and ``release`` give memory back, thoroughly and quickly."""

    def __init__(
        self,
        settings: MemoryLimiterSettings,
        context: Context,
        collect: Callable[[], None] = give_back,
        release: Callable[[], None] = release_free_memory,
    ) -> None:
        self._interval, self._context = settings.check_interval, context
        self._collect, self._release = collect, release
        self._limits = Limits.of(settings, lambda: available(context.paths))
        self._shed = settings.queues()
        self._memory = ServiceMemory(context.paths.proc, context.clock, self._interval)
        self._next_check = self._next_collection = context.clock.monotonic()
        self._refusing, self._refused_since = False, 0.0

    def start(self) -> None:
        """Publish the limits, and what is in use."""
        observe = self._context.telemetry.observe
        observe(*_USAGE.instrument, self._memory.recently)
        observe(*_LIMIT.instrument, lambda: self._limits.hard)
        observe(*_SOFT_LIMIT.instrument, lambda: self._limits.soft)

    def process(self, frames: Frames) -> Frames:
        """The unchanged frames. Raises `RefusedError` above the soft limit."""
        if self._context.clock.monotonic() >= self._next_check:
            self._check()
        if self._refusing:
            raise RefusedError("memory limit reached", retry_after=self._interval)
        return frames

    def _check(self) -> None:
        with _ONE_AT_A_TIME:
            used = self._memory.now()
            if used >= self._limits.soft:
                used = self._collected(used)
            if used >= self._limits.hard or (used >= self._limits.soft and self._refuses_for_too_long()):
                used = shed(self._queues(), self._limits.soft, self._memory.now, self._release)
        self._next_check = self._context.clock.monotonic() + self._interval
        refusing = used >= self._limits.soft
        if refusing and not self._refusing:
            self._context.telemetry.error("limiting", self._describe(used))
            self._refused_since = self._context.clock.monotonic()
        elif not refusing:
            self._context.telemetry.recovered("limiting")
        self._refusing = refusing

    def _refuses_for_too_long(self) -> bool:
        """Whether refusing alone does not help: a queue whose back end is away keeps what it has."""
        return self._refusing and self._context.clock.monotonic() - self._refused_since >= _MAX_REFUSING_SECONDS

    def _collected(self, used: int) -> int:
        """The bytes in use after unused memory was given back."""
        now = self._context.clock.monotonic()
        if used < self._limits.hard and now < self._next_collection:
            return used
        self._next_collection = now + _COLLECTION_SECONDS
        self._collect()
        return self._memory.now()

    def _queues(self) -> list[SheddableQueue]:
        """Those to give up, in order; `check` has found those that are not there."""
        known = self._context.queues()
        return [known[id_] for id_ in self._shed if id_ in known]

    def _describe(self, used: int) -> str:
        soft, hard = self._limits.soft // _MIB, self._limits.hard // _MIB
        return f"{used // _MIB} MiB are in use, the soft limit is {soft} of {hard} MiB: batches are refused"


def _metrics(folders: Sequence[Path]) -> Sequence[MetricInfo]:  # noqa: ARG001 # the contract's argument
    return (_USAGE, _LIMIT, _SOFT_LIMIT)


@hookimpl
def register_components() -> Sequence[Factory]:
    """The processor ``memory_limiter``."""
    return [
        Factory.processor(
            "memory_limiter",
            MemoryLimiter,
            MemoryLimiterSettings,
            stability=Stability.BETA,
            description="Refuses batches above a memory limit, and gives up queued ones in a declared order",
            metrics=_metrics,
        )
    ]
