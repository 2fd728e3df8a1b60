# SPDX-License-Identifier: Apache-2.0
"""Queue and retry settings of every sender, with the OpenTelemetry Collector's names."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import Field, model_validator

from .settings import Bytes, Duration, Interval, Settings, format_duration


class Sizer(StrEnum):
    """The unit of a queue's size: batches, data points, or bytes."""

    REQUESTS = "requests"
    ITEMS = "items"
    BYTES = "bytes"


class QueueSettings(Settings):
    """The queue in front of a sender."""

    enabled: bool = True
    """Without a queue, the receiver waits until the data is delivered or dropped."""
    sizer: Sizer = Sizer.BYTES
    """The unit of `queue_size`: `requests` (batches: one per collection interval and pipeline), `items` (data points)
    or `bytes`. The default is `bytes`, or `requests` if `queue_size` is a number without a unit."""
    queue_size: Bytes = Field(default=16 << 20, ge=1)
    """How much may wait. When the queue is full, the oldest batch is dropped and counted: newer cumulative values
    include its data."""
    num_consumers: int = Field(default=1, ge=1, le=100)
    """How many batches are delivered concurrently; with more than one, their order is not preserved."""
    block_on_overflow: bool = False
    """Wait for room instead of dropping the oldest batch; receivers wait as well."""
    storage: str | None = None
    """The extension that keeps the queue on disk, as in `file_storage`: what waits survives the end of the process.
    `requests` then are payloads, of which a large batch has several, and `bytes` those on the way to the back end."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_collector_counts(cls, written: Any) -> Any:
        if not isinstance(written, Mapping) or "sizer" in written:
            return written
        size = written.get("queue_size")
        number = isinstance(size, int) and not isinstance(size, bool)
        return {**written, "sizer": Sizer.REQUESTS} if number else written

    @model_validator(mode="after")
    def _stores_what_is_queued(self) -> Self:
        if self.storage is not None and not self.enabled:
            raise ValueError(f'storage "{self.storage}" has no queue to keep; set enabled: true, or remove storage')
        return self


class RetrySettings(Settings):
    """What happens when a delivery fails temporarily."""

    enabled: bool = True
    """Retry; otherwise failed deliveries are dropped and counted."""
    initial_interval: Interval = 5.0
    """How long to wait before the second attempt."""
    randomization_factor: float = Field(default=0.5, ge=0, le=1)
    """The fraction by which each wait is randomly extended or shortened, so that many agents do not retry at once."""
    multiplier: float = Field(default=1.5, ge=1, le=100)
    """The factor by which each wait is longer than the previous one."""
    max_interval: Interval = 30.0
    """The longest wait between two attempts, before it is randomized."""
    max_elapsed_time: Duration = 300.0
    """How long a payload is retried in total before it is dropped and counted; 0s: no limit."""

    @model_validator(mode="after")
    def _first_wait_is_not_the_longest(self) -> Self:
        first, longest = format_duration(self.initial_interval), format_duration(self.max_interval)
        if self.initial_interval > self.max_interval:
            above = f'initial_interval "{first}" is above max_interval "{longest}"'
            raise ValueError(f"{above}; lower it, or raise max_interval")
        return self


class PushSettings(Settings):
    """The settings that every sender has."""

    timeout: Interval = 5.0
    """How long one attempt to deliver may take."""
    sending_queue: QueueSettings = QueueSettings()
    """The queue that keeps a slow back end from blocking anything else."""
    retry_on_failure: RetrySettings = RetrySettings()
    """What happens when a delivery fails temporarily."""
