# SPDX-License-Identifier: Apache-2.0
"""Alarm rules for the end of alarm-settings.yml: an example, whose limits suit few databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .rules import INSTANCE
from .rules_text import GENERATED, LICENCE

_M = INSTANCE.prefix


@dataclass(frozen=True)
class Alarm:
    """``period``: the minutes that are looked at. ``silence``: minutes without a repetition. ``reason``: a comment."""

    name: str
    expression: str
    period: int
    silence: int
    message: str
    reason: str


ALARMS = (
    Alarm(
        "kernel_cache_misses",
        f"sum({_M}_cache_misses / {_M}_cache_read_attempts * 100 > 20) >= 3",
        10,
        30,
        "{name} read more than 20 % of its pages from disk in 3 of the last 10 minutes.",
        "Choose the limit from what is usual here. A minute without reads has no share, and does not count.",
    ),
    Alarm(
        "kernel_block_io_slow",
        f"sum({_M}_block_io_latency{{operation='read,write',p='99'}} > 100000) >= 3",
        10,
        30,
        "The slowest 1 % of the disk requests of {name} took more than 100 ms in 3 of the last 10 minutes.",
        "Microseconds. Percentiles are bounds of buckets: of those near, 67 ms is below the limit, 268 ms above it.",
    ),
    Alarm(
        "kernel_oom_kill",
        f"sum({_M}_memory_oom_kills) >= 1",
        5,
        10,
        "The kernel killed a process of {name} because memory ran out.",
        "One is enough.",
    ),
    Alarm(
        "kernel_direct_reclaim",
        f"sum({_M}_memory_direct_reclaim_time_us > 1000000) >= 3",
        10,
        30,
        "Threads of {name} waited for free memory for more than a second a minute, in 3 of the last 10 minutes.",
        "Microseconds a minute, of all threads together.",
    ),
)


def alarms_text() -> str:
    """The file."""
    return "\n".join([LICENCE, GENERATED, "# An example: put what suits you below `rules:` of alarm-settings.yml.",
                      "", "rules:", *(line for alarm in ALARMS for line in _lines(alarm))]) + "\n"  # fmt: skip


def _lines(alarm: Alarm) -> Iterator[str]:
    yield f"  # {alarm.reason}"
    yield f"  {alarm.name}_rule:"
    yield f'    expression: "{alarm.expression}"'
    yield f"    period: {alarm.period}"
    yield f"    silence-period: {alarm.silence}"
    yield f'    message: "{alarm.message}"'
    yield "    tags: {level: WARNING}"
