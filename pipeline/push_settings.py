# SPDX-License-Identifier: Apache-2.0
"""What every sender can be told about its queue and its retries, in the OpenTelemetry Collector's words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import Field, model_validator

from .settings import Bytes, Duration, Interval, Settings, format_duration


class Sizer(StrEnum):
    """What a queue's size is measured in: batches, data points, or bytes."""

    REQUESTS = "requests"
    ITEMS = "items"
    BYTES = "bytes"


class QueueSettings(Settings):
    """The queue in front of a sender."""

    enabled: bool = True
    """Without a queue, whoever made the data waits until they are delivered or given up."""
    sizer: Sizer = Sizer.BYTES
    """What `queue_size` is measured in: `requests` (batches: one per collection interval and pipeline), `items` (data
    points) or `bytes`. Left out, it is `bytes`, or `requests` where `queue_size` is a number without a unit."""
    queue_size: Bytes = Field(default=16 << 20, ge=1)
    """How much may wait. When it is full, the oldest batch is given up and counted: newer cumulative values include
    what it said."""
    num_consumers: int = Field(default=1, ge=1, le=100)
    """How many batches are delivered at the same time; with more than one, their order is not kept."""
    block_on_overflow: bool = False
    """Wait for room instead of giving up the oldest batch; receivers wait as well."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_collector_counts(cls, written: Any) -> Any:
        if not isinstance(written, Mapping) or "sizer" in written:
            return written
        size = written.get("queue_size")
        number = isinstance(size, int) and not isinstance(size, bool)
        return {**written, "sizer": Sizer.REQUESTS} if number else written


class RetrySettings(Settings):
    """What happens to a delivery that failed for the moment."""

    enabled: bool = True
    """Try again; else what failed is given up and counted."""
    initial_interval: Interval = 5.0
    """How long to wait before the second attempt."""
    randomization_factor: float = Field(default=0.5, ge=0, le=1)
    """By which share of it each wait is made longer or shorter at random, so that many agents do not return at once."""
    multiplier: float = Field(default=1.5, ge=1, le=100)
    """By how much each wait is longer than the one before."""
    max_interval: Interval = 30.0
    """The longest wait between two attempts, before it is randomized."""
    max_elapsed_time: Duration = 300.0
    """How long a payload is tried in all before it is given up and counted; 0s: for ever."""

    @model_validator(mode="after")
    def _first_wait_is_not_the_longest(self) -> Self:
        first, longest = format_duration(self.initial_interval), format_duration(self.max_interval)
        if self.initial_interval > self.max_interval:
            above = f'initial_interval "{first}" is above max_interval "{longest}"'
            raise ValueError(f"{above}; lower it, or raise max_interval")
        return self


class PushSettings(Settings):
    """What the settings of every sender begin with."""

    timeout: Interval = 5.0
    """How long one attempt to deliver may take."""
    sending_queue: QueueSettings = QueueSettings()
    """The queue that keeps a slow back end from holding up anything else."""
    retry_on_failure: RetrySettings = RetrySettings()
    """What happens to a delivery that failed for the moment."""
