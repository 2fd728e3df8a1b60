# SPDX-License-Identifier: Apache-2.0
"""Waiting times between delivery attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ebpf_sidecar.pipeline.push_settings import RetrySettings


def backoff_intervals(settings: RetrySettings, random: Callable[[], float]) -> Iterator[float]:
    """Seconds before the second attempt, the third, and so on. ``random`` returns numbers from 0 to below 1."""
    wait = settings.initial_interval
    while True:
        yield wait * (1 + settings.randomization_factor * (2 * random() - 1))
        wait = min(wait * settings.multiplier, settings.max_interval)
