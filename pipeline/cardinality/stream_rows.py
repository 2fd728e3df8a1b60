# SPDX-License-Identifier: Apache-2.0
"""One stream's frames, with rows that share one where their owners have none of their own.

What a row counts in the interval in which it changes goes to the shared row: a row that leaves was shown before, one
that comes begins at 0. So the increases of all rows are those of the frames that came, in every interval.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame, Kind
from ..rows import RowSet, once_per_row_set
from .owners import NOBODY, OVERFLOWED, Mask, Positions
from .row_table import Parts, RowTable, Taken, parts_of
from .shared_rows import OVERFLOW_ID, SharedRows, kinds_of, rows_with_shared

_LAYOUTS = 8
_NEVER = float("-inf")
_DIVISIBLE = ("By", "KiBy", "MiBy", "GiBy", "KBy", "MBy", "GBy")


@dataclass
class Room:
    """What is left of the budget. ``shared``: of the part that rows called `OTHER` may take."""

    left: int
    shared: int

    def admit(self, wanted: Mask, lines: int) -> Mask:
        """The first of the ``wanted`` rows, as many as there is room for."""
        places = np.flatnonzero(wanted)[: max(0, self.left) // lines]
        admitted = np.zeros(len(wanted), np.bool_)
        admitted[places] = True
        self.left -= len(places) * lines
        return admitted

    def admit_shared(self, lines: int) -> bool:
        """Whether there is room for one more row that is shared."""
        if min(self.left, self.shared) < lines:
            return False
        self.left -= lines
        self.shared -= lines
        return True


@dataclass(frozen=True, slots=True)
class Place:
    """What a stream takes of the budget. ``page``, ``live``: the owners of rows on the page, and of rows that come,
    once for each row. ``nobody``: of the overflow row, and of rows that no owner can give up; ``shared``: of others.
    """

    page: Positions
    live: Positions
    nobody: int
    shared: int


@dataclass(frozen=True, slots=True)
class _Sharing:
    """Which rows share one. ``members``: positions in the frame. ``slots``: for each, where its shared row is.
    ``ids``: of the shared rows, the overflow row last. ``first``: an example of each other one."""

    members: Positions
    slots: Positions
    ids: NDArray[np.uint64]
    first: Positions


class StreamRows:
    """The rows of one stream. ``lines``: how much of the budget each takes. ``seen``: monotonic seconds."""

    def __init__(self, frame: Frame, lines: int, forgotten: int = -1) -> None:
        self.table = RowTable(frame, forgotten)
        self.shared = SharedRows(parts_of(frame))
        self.lines = lines
        self.seen = 0.0
        self.overflowed = 0
        self._place: Place | None = None
        self._changes = _NEVER

    def place(self, before: float) -> Place:
        """What the stream takes. ``before``: a series that was reported last before it is no longer on the page."""
        if self._place is None or self._changes < before:
            table, on_page = self.table, self.table.on_page(before)
            self.shared.expire(before)
            self._changes = min(float(table.shown[on_page].min(initial=np.inf)), self.shared.oldest())
            page, live = table.owner[on_page], table.owner[table.present]
            nobody = self.lines * (1 + int((page < 0).sum()))
            self._place = Place(page[page >= 0], live[live >= 0], nobody, self.lines * self.shared.besides_overflow())
        return self._place

    def take(self, frame: Frame, owner: Positions, now: float) -> Taken:
        """Take over what a frame says, see `RowTable`."""
        self._place, self.seen = None, now
        return self.table.take(frame, owner, now)

    def renumber(self, numbers: Positions) -> None:
        """Owners have other numbers now."""
        self._place, owner = None, self.table.owner
        owner[owner >= 0] = numbers[owner[owner >= 0]]

    def show(self, taken: Taken, named: Mask, room: Room, now: float, before: float) -> Frame:
        """The frame to pass on. ``named``: the owners that have rows of their own. ``before``: a series that was
        reported last before it is no longer on the page."""
        self._place = None
        table, at = self.table, taken.at
        owner, was = table.owner[at], table.own[at]
        may = (owner == NOBODY) | ((owner >= 0) & np.append(named, False)[np.maximum(owner, -1)])
        on_page = table.on_page(before)[at]
        entering = room.admit(may & ~on_page, self.lines)
        own = (may & was & on_page) | entering
        begins = entering & ~was & ~taken.fresh & table.cumulative
        table.own[at] = own
        table.shown[at[own]] = now
        if begins.any():
            table.begin_anew(at[begins])
        sharing = self._sharing(taken, np.flatnonzero(~own | begins), room) if is_additive(taken.frame) else None
        if sharing is not None:
            self._add(taken, sharing, now)
        if own.all() and not table.offsets and (sharing is None or not len(sharing.ids)):
            return taken.frame
        return self._frame(taken, np.flatnonzero(own), sharing)

    def _sharing(self, taken: Taken, members: Positions, room: Room) -> _Sharing:
        rows, owner = taken.frame.rows, self.table.owner[taken.at[members]]
        kinds = kinds_of(rows)
        kind = np.full(len(members), -1, np.intp)
        if kinds is not None:
            kind = np.where((owner == OVERFLOWED) | (owner == NOBODY), kind, kinds.of_row[members])
        present, inverse = np.unique(kind, return_inverse=True)
        admitted = np.array([self._has_place(kinds.ids[k], room) for k in present if k >= 0] if kinds else [], np.bool_)
        admitted = np.append(np.zeros(int(len(present) > len(admitted)), np.bool_), admitted)  # -1 comes first
        chosen = present[admitted]
        ids = kinds.ids[chosen] if kinds else np.zeros(0, np.uint64)
        if not admitted.all():
            ids = np.append(ids, np.uint64(OVERFLOW_ID))
        since = taken.since or int(taken.frame.start_times()[members].min(initial=taken.frame.time_unix_nano))
        slots = self.shared.slots(ids, since)
        slot_of = np.full(len(present), slots[-1] if len(slots) else 0, np.intp)
        slot_of[admitted] = slots[: len(chosen)]
        self.overflowed = int((~admitted)[inverse].sum())
        return _Sharing(members, slot_of[inverse], ids, kinds.first[chosen] if kinds else chosen)

    def _has_place(self, id: np.uint64, room: Room) -> bool:  # noqa: A002 # the word of the row sets
        return self.shared.knows(int(id)) or room.admit_shared(self.lines)

    def _add(self, taken: Taken, sharing: _Sharing, now: float) -> None:
        if not self.table.cumulative:
            self.shared.clear()
        self.shared.add(sharing.slots, tuple(part[sharing.members] for part in taken.growth))
        self.shared.seen[self.shared.slots(sharing.ids, 0)] = now

    def _frame(self, taken: Taken, own: Positions, sharing: _Sharing | None) -> Frame:
        frame, at = taken.frame, taken.at[own]
        nothing = np.zeros(0, np.intp)
        ids, first = (sharing.ids, sharing.first) if sharing else (np.zeros(0, np.uint64), nothing)
        slots = self.shared.slots(ids, 0)
        parts: Parts = tuple(
            np.concatenate([part, total[slots]])
            for part, total in zip(self.table.shown_values(taken, own), self.shared.totals, strict=True)
        )
        starts = np.maximum(frame.start_times()[own], self.table.begun[at])
        return replace(
            frame,
            rows=_laid_out(frame.rows, own, first, ids),
            values=parts[0] if frame.values.ndim > 1 else parts[0][:, 0],
            sums=parts[1][:, 0] if len(parts) > 1 else None,
            start_time_unix_nano=0 if frame.kind is Kind.GAUGE else np.append(starts, self.shared.start[slots]),
        )


@once_per_row_set
def _layouts(rows: RowSet) -> dict[tuple[bytes, bytes], RowSet]:  # noqa: ARG001 # kept for each of them
    """What was made of a row set, so that all metrics with the same rows go on to share one."""
    return {}


def _laid_out(rows: RowSet, own: Positions, first: Positions, ids: NDArray[np.uint64]) -> RowSet:
    if not len(ids) and len(own) == len(rows):
        return rows
    layouts, key = _layouts(rows), (own.tobytes(), ids.tobytes())
    made = layouts.get(key)
    if made is None:
        if len(layouts) >= _LAYOUTS:
            layouts.clear()
        made = layouts[key] = rows_with_shared(rows, own, first, ids)
    return made


def is_additive(frame: Frame) -> bool:
    """Whether the values of several rows have a meaning together: counts and bytes, also per second; not ratios."""
    if frame.kind is not Kind.GAUGE:
        return True
    above = frame.unit.partition("/")[0]
    return above in _DIVISIBLE or (above.startswith("{") and above.endswith("}"))
