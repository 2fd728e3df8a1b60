# SPDX-License-Identifier: Apache-2.0
"""Which frames continue each other, and which have stopped coming.

A stream is one metric of one origin; an origin is what one receiver observes under one resource. Row ids are only
meaningful within their stream. Components keep state between batches by stream; `Attendance` reports when to forget it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Generic, NamedTuple, TypeVar

from .ids import ComponentId
from .resource import Resource

MAX_ABSENT_ROUNDS = 1_000
"""A stream is forgotten after it was absent from this many rounds of its receiver, see `Attendance`."""
MAX_KEYS = 100_000
"""Of one receiver; beyond that, those that were seen longest ago are forgotten."""


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
    """Finds keys that were absent from the last `MAX_ABSENT_ROUNDS` rounds of their receiver.

    A round ends when a key comes a second time: with each batch of a receiver that reads; behind one that many clients
    push to, with a batch of each of them, however many there are. Batches of other receivers do not count, because
    receivers may differ in speed by any factor.
    """

    def __init__(self) -> None:
        self._rounds: dict[ComponentId | None, int] = {}
        self._latest: dict[ComponentId | None, dict[Key, int]] = {}

    def batch(self, source: ComponentId | None, present: Iterable[Key]) -> list[Key]:
        """Record a batch of ``source`` and its keys. Returns the keys that were absent for too long, each once."""
        latest, keys, number = self._latest.setdefault(source, {}), list(present), self._rounds.get(source, 1)
        if any(latest.get(key) == number for key in keys):
            number += 1
        self._rounds[source] = number
        for key in keys:
            latest.pop(key, None)
            latest[key] = number  # at the end: keys stay in the order of their last batch
        surplus = set(islice(latest, max(0, len(latest) - MAX_KEYS)))
        gone = list(takewhile(lambda key: key in surplus or latest[key] <= number - MAX_ABSENT_ROUNDS, latest))
        for key in gone:
            del latest[key]
        return gone
