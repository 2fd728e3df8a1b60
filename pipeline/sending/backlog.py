# SPDX-License-Identifier: Apache-2.0
"""Payloads that wait in a store, and in memory while the store takes none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.payload_store import FAILED, FULL, Amount, DamageError, PayloadStore, StorageError
from ebpf_sidecar.pipeline.push_settings import QueueSettings

from .accounting import SHUTDOWN

CORRUPT, QUEUE_FULL = "corrupt", "queue_full"
MEMORY_LIMIT = 16 << 20
"""How many bytes may wait in memory while the store takes none."""
_STAGE = "storage"
_MOST_DAMAGED = 1000
Answer = TypeVar("Answer")


def has_room(settings: QueueSettings, waiting: Amount, more: Amount) -> bool:
    """Whether so much more may wait; an empty queue takes any amount."""
    return not waiting.payloads or (waiting + more).size(settings.sizer) <= settings.queue_size


@dataclass(eq=False)
class Taken:
    """A payload that is being delivered. ``stored``: the next process would find it if this one ended now."""

    sequence: int
    payload: Payload
    stored: bool


@dataclass
class Backlog:
    """First in, first out. Not thread-safe: callers lock it.

    ``lost``: points that were dropped, by reason; callers take and clear it.
    """

    store: PayloadStore
    settings: QueueSettings
    telemetry: Telemetry
    lost: Counter[str] = field(default_factory=Counter)
    unreadable: bool = False
    """Whether the store could not be read at the last attempt."""
    _stored: Amount = field(default_factory=Amount)
    """How much waits in the store."""
    _passed: int = 0
    """Up to this number, what is in the store is being delivered or obsolete."""
    _held: dict[int, Payload] = field(default_factory=dict)
    """What waits in memory: newer than everything that waits in the store."""
    _taken: set[Taken] = field(default_factory=set)
    _obsolete: set[int] = field(default_factory=set)
    """What is settled and could not be removed from the store yet."""

    def __post_init__(self) -> None:
        self._stored = self._tried(lambda: self.store.amount(0))
        self._last = self._tried(self.store.last)

    @property
    def waiting(self) -> Amount:
        """How much waits, wherever."""
        return self._stored + Amount.of(self._held.values())

    def put(self, payloads: Sequence[Payload]) -> Amount:
        """Add payloads to the end, for which the oldest ones make room; returns how much was added."""
        added = Amount.of(payloads)
        if not self.settings.block_on_overflow:  # else callers have waited for room, except at the end
            self._make_room(added)
        for payload in payloads:
            self._last += 1
            self._held[self._last] = payload
        self._save()
        return added

    def take(self) -> Taken | None:
        """Remove the oldest payload for delivery; None if nothing waits, or if nothing can be read (``unreadable``)."""
        found: list[Taken | None] = [None]
        self.unreadable = bool(self._attempt(lambda: found.append(self._from_store())))
        taken = found[-1] or self._from_memory()
        if taken is not None:
            self._taken.add(taken)
        return taken

    def replace(self, taken: Taken, payload: Payload) -> None:
        """Only ``payload`` remains of what is being delivered."""
        taken.payload = payload
        if taken.stored:
            self._attempt(lambda: self.store.replace(taken.sequence, payload))

    def settle(self, taken: Taken) -> None:
        """Forget what was delivered or dropped."""
        self._taken.discard(taken)
        if taken.stored:
            self._obsolete.add(taken.sequence)
            self._attempt(self._remove_obsolete)

    def close(self, unsettled: Mapping[Taken, int]) -> None:
        """Leave everything to the next process; what cannot be stored is lost.

        ``unsettled``: how many points of each payload that is being delivered are not settled; it waits again, unless
        there are none.
        """
        given_back = Amount()
        for taken, points in unsettled.items():
            rest = replace(taken.payload, points=points)
            if taken.payload.points and not points:
                self.settle(taken)
            elif taken.stored:
                given_back += Amount.of([rest])
            else:
                self._held[taken.sequence] = rest
        self._attempt(self._store_held)
        self._lose(SHUTDOWN, list(self._held))
        self._stored += given_back
        self.store.close()

    def _make_room(self, needed: Amount) -> None:
        while not has_room(self.settings, self.waiting, needed):
            if not self._give_up_oldest(QUEUE_FULL).payloads:
                return  # it cannot be found

    def _save(self) -> None:
        """Store what is held in memory; if that fails, it stays there, up to a limit."""
        reason = self._attempt(self._store_held)
        if reason == FULL and self._over_limit():
            self._make_room_in_file(Amount.of(self._held.values()).bytes)
            reason = self._attempt(self._store_held)
        while reason and self._over_limit() and len(self._held) > 1:
            self._lose(reason, [min(self._held)])

    def _make_room_in_file(self, needed: int) -> None:
        while needed > 0 and self._stored.payloads:
            given_up = self._give_up_oldest(FULL)
            if not given_up.payloads:
                return
            needed -= given_up.bytes

    def _over_limit(self) -> bool:
        return Amount.of(self._held.values()).bytes > MEMORY_LIMIT

    def _store_held(self) -> None:
        if not self._held and not self._obsolete:
            return
        self.store.add(self._held, self._obsolete)
        self._stored += Amount.of(self._held.values())
        self._held.clear()
        self._obsolete.clear()
        self.telemetry.recovered(_STAGE)

    def _remove_obsolete(self) -> None:
        self.store.remove(self._obsolete)
        self._obsolete.clear()

    def _give_up_oldest(self, reason: str) -> Amount:
        """Drop the oldest payload that waits, if there is one that can be found."""
        found: list[tuple[int, Amount] | None] = []
        if self._stored.payloads and not self._attempt(lambda: found.append(self.store.oldest_amount(self._passed))):
            if found[-1] is None:
                self._attempt(self._count_again)
                return Amount()
            self._passed, amount = found[-1]
            self._obsolete.add(self._passed)
            self._stored -= amount
            self.lost[reason] += amount.points
            return amount
        return self._lose(reason, [min(self._held)] if self._held else [])

    def _lose(self, reason: str, sequences: Sequence[int]) -> Amount:
        amount = Amount.of(self._held.pop(each) for each in sequences)
        self.lost[reason] += amount.points
        return amount

    def _from_store(self) -> Taken | None:
        if not self._stored.payloads:
            return None
        found = self.store.oldest(self._passed)
        if found is None:
            self._count_again()
            return None
        self._passed = found.sequence
        self._stored -= Amount.of([found.payload])
        return Taken(*found, stored=True)

    def _from_memory(self) -> Taken | None:
        if not self._held:
            return None
        oldest = min(self._held)
        return Taken(oldest, self._held.pop(oldest), stored=False)

    def _attempt(self, work: Callable[[], None]) -> str:
        """Work with the store; returns the reason if that failed, which is reported."""
        try:
            self._tried(work)
        except StorageError as problem:
            self.telemetry.error(_STAGE, problem)
            return problem.reason
        return ""

    def _tried(self, work: Callable[[], Answer]) -> Answer:
        """The result, after what turned out to be damaged was set aside. Raises `StorageError`."""
        damaged = False
        for _ in range(_MOST_DAMAGED):
            try:
                if damaged:
                    self._count_again()
                return work()
            except DamageError as damage:
                self.telemetry.error(_STAGE, damage)
                self._passed, damaged = max(self._passed, damage.sequence), True
        raise StorageError("too much is damaged", FAILED)

    def _count_again(self) -> None:
        """After damage: what is no longer there is lost."""
        left = self.store.amount(self._passed)
        self.lost[CORRUPT] += max(0, self._stored.points - left.points)
        self._stored = left
        for taken in self._taken:
            taken.stored = taken.stored and self.store.contains(taken.sequence)
