# SPDX-License-Identifier: Apache-2.0
"""What an extension offers to queues that outlive the process: a `Storage`, which opens a `PayloadStore` per sender."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from .errors import SidecarError
from .payload import Payload
from .push_settings import Sizer

FULL, FAILED = "storage_full", "storage_error"
"""Reasons of a `StorageError`; points that are lost for it are counted by them."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of something waits: payloads, data points and bytes."""

    payloads: int = 0
    points: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, payloads: Iterable[Payload]) -> Amount:
        """The amount of ``payloads``."""
        listed = [(payload.points, payload.size) for payload in payloads]
        return cls(len(listed), sum(points for points, _ in listed), sum(size for _, size in listed))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.payloads + other.payloads, self.points + other.points, self.bytes + other.bytes)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.payloads - other.payloads, self.points - other.points, self.bytes - other.bytes)

    def size(self, sizer: Sizer) -> int:
        """The queue capacity that it uses."""
        return {Sizer.REQUESTS: self.payloads, Sizer.ITEMS: self.points, Sizer.BYTES: self.bytes}[sizer]


class Stored(NamedTuple):
    """A payload and its place in the queue."""

    sequence: int
    payload: Payload


class StorageError(SidecarError):
    """Something could not be read or written; nothing has changed. ``reason``: `FULL` or `FAILED`."""

    def __init__(self, message: str, reason: str = FAILED) -> None:
        super().__init__(message)
        self.reason = reason


class DamageError(SidecarError):
    """Something stored was damaged and has been set aside; the store can be used again, and holds less than before.

    ``sequence``: the damaged payload that is to be skipped, should it still be there.
    """

    def __init__(self, message: str, sequence: int = 0) -> None:
        super().__init__(message)
        self.sequence = sequence


class PayloadStore(Protocol):
    """The payloads of one sender, by sequence numbers from 1 on. Not thread-safe: callers lock it.

    All methods raise `StorageError` and `DamageError`.
    """

    def amount(self, after: int) -> Amount:
        """How much is stored beyond a sequence number."""
        ...

    def last(self) -> int:
        """The highest sequence number; 0 if nothing is stored."""
        ...

    def oldest(self, after: int) -> Stored | None:
        """The first payload beyond a sequence number."""
        ...

    def oldest_amount(self, after: int) -> tuple[int, Amount] | None:
        """The same without the payload: sequence number and amount."""
        ...

    def contains(self, sequence: int) -> bool:
        """Whether that payload is stored."""
        ...

    def add(self, payloads: Mapping[int, Payload], removed: Collection[int] = ()) -> None:
        """Store all payloads durably and forget those ``removed``, or do neither."""
        ...

    def replace(self, sequence: int, payload: Payload) -> None:
        """Store another payload in the place of one."""
        ...

    def remove(self, sequences: Collection[int]) -> None:
        """Forget payloads; after a power cut they may be back."""
        ...

    def close(self) -> None:
        """Close what is open; safe to call twice."""
        ...


@runtime_checkable
class Storage(Protocol):
    """An extension that stores payloads."""

    def open_store(self, name: str) -> PayloadStore:
        """The store of the sender with that id, with what an earlier process left there. Raises `SidecarError`."""
        ...
