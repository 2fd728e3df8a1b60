# SPDX-License-Identifier: Apache-2.0
"""What a sender sends to its back end in one request, and the possible outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import SidecarError


@dataclass(frozen=True, slots=True)
class Payload:
    """Data points as the back end takes them, encoded once: a retry sends the same bytes.

    ``note``: what the sender needs besides the body to send it, even in a later process (a table, a content type).
    """

    body: bytes
    points: int
    note: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that it occupies in a queue."""
        return len(self.body) + sum(len(key) + len(value) for key, value in self.note.items())


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Points of a batch that are in none of its payloads, on purpose.

    ``reason``: a word or two, no free text. ``lost``: whether the back end misses something. If so, the points count
    as dropped; if not (a delta that observed nothing, rows that were added to others), they count as filtered.
    """

    points: int
    reason: str
    lost: bool


class SendError(SidecarError):
    """A payload was not delivered, or not all of it.

    ``rejected``: points that the back end refused permanently, by reason (a word or two). ``remaining``: what may be
    sent again, at the earliest in ``retry_after`` seconds. Points in neither were delivered. With ``retry`` alone, the
    whole payload remains; with neither argument, all of it was refused. Raises ValueError for ``retry`` with
    ``rejected`` but without ``remaining``.
    """

    def __init__(
        self,
        message: str,
        *,
        retry: bool = False,
        retry_after: float = 0.0,
        rejected: Mapping[str, int] | None = None,
        remaining: Payload | None = None,
        component: str = "",
    ) -> None:
        if retry and rejected is not None and remaining is None:
            raise ValueError("a payload that was rejected in part cannot be sent again as it was; pass remaining")
        super().__init__(message, component=component)
        self.retry, self.retry_after = retry, retry_after
        self.rejected, self.remaining = rejected, remaining

    def outcome(self, payload: Payload) -> Outcome:
        """The outcome for the payload that was sent."""
        if self.retry and self.remaining is None and self.rejected is None:
            return Outcome({}, payload)
        if not self.retry and self.remaining is None and self.rejected is None:
            return Outcome({"refused": payload.points}, None)
        return Outcome(dict(self.rejected or {}), self.remaining)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Points refused permanently, by reason, and what may be sent again; everything else was delivered."""

    rejected: Mapping[str, int]
    remaining: Payload | None
