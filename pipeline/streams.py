# SPDX-License-Identifier: Apache-2.0
"""Which frames continue each other, and which have stopped coming.

A stream is one metric of one origin; an origin is what one receiver observes under one resource. Row ids are only
meaningful within their stream. Components keep state between batches by stream; `Attendance` reports when to forget it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Generic, NamedTuple, TypeVar

from .ids import ComponentId
from .resource import Resource

MAX_ABSENT_BATCHES = 1_000
"""A stream is forgotten after it was absent from this many batches of its receiver."""


class Origin(NamedTuple):
    """Where a frame comes from: the receiver that made it, the scope's name, and what is observed."""

    source: ComponentId | None
    scope: str
    resource: Resource


class Stream(NamedTuple):
    """What a frame continues: the metric with that name from that origin."""

    metric: str
    origin: Origin


Key = TypeVar("Key")


class Attendance(Generic[Key]):
    """Finds keys that were absent from the last `MAX_ABSENT_BATCHES` batches of their receiver.

    Batches of other receivers do not count, because receivers may differ in speed by any factor.
    """

    def __init__(self) -> None:
        self._batches: dict[ComponentId | None, int] = {}
        self._latest: dict[ComponentId | None, dict[Key, int]] = {}

    def batch(self, source: ComponentId | None, present: Iterable[Key]) -> list[Key]:
        """Record a batch of ``source`` and its keys. Returns the keys that were absent for too long, each once."""
        number = self._batches[source] = self._batches.get(source, 0) + 1
        latest = self._latest.setdefault(source, {})
        for key in present:
            latest.pop(key, None)
            latest[key] = number  # at the end: keys stay in the order of their last batch
        gone = list(takewhile(lambda key: latest[key] <= number - MAX_ABSENT_BATCHES, latest))
        for key in gone:
            del latest[key]
        return gone
