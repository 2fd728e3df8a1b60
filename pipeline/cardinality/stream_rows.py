# SPDX-License-Identifier: Apache-2.0
"""One stream's frames, in which rows share a row if their owners have none of their own.

In the interval in which a row changes sides, its count goes to the shared row: a leaving row was shown before, and an
entering one starts at 0. So in every interval the sum of all increases equals that of the original frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ebpf_sidecar.pipeline.frame import Frame, Kind
from ebpf_sidecar.pipeline.rows import RowSet, once_per_row_set

from .identity import Hashes
from .owners import NO_OWNER, OVERFLOWED, Mask, Positions
from .row_table import FrameGrowth, Parts, RowTable, parts_of
from .shared_rows import OVERFLOW_ID, SharedRows, rows_with_shared, sharing_of

_LAYOUTS = 8
_NEVER = float("-inf")
_DIVISIBLE = ("By", "KiBy", "MiBy", "GiBy", "KBy", "MBy", "GBy")


@dataclass
class RemainingBudget:
    """The remaining budget. ``shared``: of the part that rows called `OTHER` may use."""

    left: int
    shared: int

    def admit(self, wanted: Mask, lines: int) -> Mask:
        """The first of the ``wanted`` rows, as many as fit."""
        places = np.flatnonzero(wanted)[: max(0, self.left) // lines]
        admitted = np.zeros(len(wanted), np.bool_)
        admitted[places] = True
        self.left -= len(places) * lines
        return admitted

    def admit_shared(self, wanted: int, lines: int) -> int:
        """How many of the ``wanted`` new shared rows fit."""
        admitted = min(wanted, max(0, min(self.left, self.shared)) // lines)
        self.left -= admitted * lines
        self.shared -= admitted * lines
        return admitted


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """A stream's use of the budget. ``page``, ``live``: the owners of rows on the page, and of current rows, once for
    each row. ``unowned``: of the overflow row, and of rows without an owner; ``shared``: of other shared rows.
    """

    page: Positions
    live: Positions
    unowned: int
    shared: int


class StreamRows:
    """The rows of one stream. ``lines``: the cost of each. ``seen``: monotonic seconds."""

    def __init__(self, frame: Frame, lines: int, forgotten: int = -1) -> None:
        self.table = RowTable(frame, forgotten)
        self.shared = SharedRows(parts_of(frame))
        self.lines = lines
        self.seen = 0.0
        self.overflowed = 0
        self._budget_use: BudgetUse | None = None
        self._changes = _NEVER

    def budget_use(self, before: float) -> BudgetUse:
        """The stream's budget use. ``before``: series last reported earlier are no longer on the page."""
        if self._budget_use is None or self._changes < before:
            table, on_page = self.table, self.table.on_page(before)
            self.shared.expire(before)
            self._changes = min(float(table.shown[on_page].min(initial=np.inf)), self.shared.oldest())
            page, live = table.owner[on_page], table.owner[table.present]
            unowned = self.lines * (1 + int((page < 0).sum()))
            self._budget_use = BudgetUse(
                page[page >= 0], live[live >= 0], unowned, self.lines * self.shared.besides_overflow()
            )
        return self._budget_use

    def take(self, frame: Frame, owner: Positions, now: float) -> FrameGrowth:
        """Store a frame's numbers, see `RowTable`."""
        self._budget_use, self.seen = None, now
        return self.table.take(frame, owner, now)

    def renumber(self, numbers: Positions) -> None:
        """Apply the owners' new numbers."""
        self._budget_use, owner = None, self.table.owner
        owner[owner >= 0] = numbers[owner[owner >= 0]]

    def show(self, taken: FrameGrowth, named: Mask, remaining: RemainingBudget, now: float, before: float) -> Frame:
        """The frame to pass on. ``named``: the owners with rows of their own. ``before``: series last reported earlier
        are no longer on the page."""
        self._budget_use = None
        table, at = self.table, taken.at
        owner, was = table.owner[at], table.own[at]
        may = (owner == NO_OWNER) | ((owner >= 0) & np.append(named, False)[np.maximum(owner, -1)])
        on_page = table.on_page(before)[at]
        entering = remaining.admit(may & ~on_page, self.lines)
        own = (may & was & on_page) | entering
        starting = entering & ~was & ~taken.fresh & table.cumulative
        table.own[at] = own
        table.shown[at[own]] = now
        if starting.any():
            table.start_own_series(at[starting])
        self.overflowed = 0
        ids = np.zeros(0, np.uint64)
        if is_additive(taken.frame):
            self._share(taken, ~own | starting, remaining, now)
            ids = self._reported(taken.frame.rows, now, before)
        if own.all() and not table.offsets and not len(ids):
            return taken.frame
        return self._frame(taken, np.flatnonzero(own), ids)

    def _share(self, taken: FrameGrowth, folded: Mask, remaining: RemainingBudget, now: float) -> None:
        """Add the counts of ``folded`` rows to their shared rows, as far as those fit."""
        if not self.table.cumulative:
            self.shared.clear()
        members = np.flatnonzero(folded)
        members = members[np.any([part[members].any(axis=1) for part in taken.growth], axis=0)]
        if not len(members):
            return
        ids, first, kind = np.unique(self._wanted(taken, members), return_index=True, return_inverse=True)
        admitted = self._admitted(ids, first, remaining)
        overflow = np.full(int(not admitted.all()), OVERFLOW_ID, np.uint64)
        since = taken.since or int(taken.frame.start_times()[members].min(initial=taken.frame.time_unix_nano))
        slots = self.shared.slots(np.append(ids[admitted], overflow), since)
        slot_of = np.full(len(ids), slots[-1] if len(slots) else 0, np.intp)
        slot_of[admitted] = slots[: int(admitted.sum())]
        self.overflowed = int((~admitted)[kind].sum())
        self.shared.add(slot_of[kind], tuple(part[members] for part in taken.growth))
        self.shared.grown[slots] = now

    def _wanted(self, taken: FrameGrowth, members: Positions) -> Hashes:
        """The id of each member's shared row."""
        owner, sharing = self.table.owner[taken.at[members]], sharing_of(taken.frame.rows)
        wanted = np.full(len(members), OVERFLOW_ID, np.uint64)
        if sharing is not None:
            joins = (owner != OVERFLOWED) & (owner != NO_OWNER)
            wanted[joins] = sharing.ids[members[joins]]
        return wanted

    def _reported(self, rows: RowSet, now: float, before: float) -> Hashes:
        """The shared rows to report, the overflow row last: those that grew recently and match a row here.

        Others are left to expire, because the budget may be needed, long after their counts were scraped.
        """
        sharing, shared = sharing_of(rows), self.shared
        lately = shared.grown >= ((before + now) / 2 if self.table.cumulative else now)
        here = shared.ids == np.uint64(OVERFLOW_ID) if sharing is None else sharing.examples(shared.ids) >= 0
        overflow = shared.ids == np.uint64(OVERFLOW_ID)
        shared.seen[lately & (here | overflow)] = now
        return np.append(shared.ids[lately & here & ~overflow], shared.ids[lately & overflow])

    def _admitted(self, ids: Hashes, first: Positions, remaining: RemainingBudget) -> Mask:
        """Which of these shared rows exist already or fit, in the order of ``first``; never the overflow row, which has
        reserved budget."""
        admitted = np.isin(ids, self.shared.ids)
        admitted[ids == np.uint64(OVERFLOW_ID)] = False
        new = np.flatnonzero(~admitted & (ids != np.uint64(OVERFLOW_ID)))
        new = new[np.argsort(first[new])]
        admitted[new[: remaining.admit_shared(len(new), self.lines)]] = True
        return admitted

    def _frame(self, taken: FrameGrowth, own: Positions, ids: Hashes) -> Frame:
        frame, at = taken.frame, taken.at[own]
        slots = self.shared.slots(ids, 0)
        parts: Parts = tuple(
            np.concatenate([part, total[slots]])
            for part, total in zip(self.table.shown_values(taken, own), self.shared.totals, strict=True)
        )
        starts = np.maximum(frame.start_times()[own], self.table.own_start[at])
        return replace(
            frame,
            rows=_laid_out(frame.rows, own, ids),
            values=parts[0] if frame.values.ndim > 1 else parts[0][:, 0],
            sums=parts[1][:, 0] if len(parts) > 1 else None,
            start_time_unix_nano=0 if frame.kind is Kind.GAUGE else np.append(starts, self.shared.start[slots]),
        )


@once_per_row_set
def _layouts(rows: RowSet) -> dict[tuple[bytes, bytes], RowSet]:  # noqa: ARG001 # one dict per row set
    """The results for a row set, so that all metrics with the same rows continue to share one."""
    return {}


def _laid_out(rows: RowSet, own: Positions, ids: Hashes) -> RowSet:
    if not len(ids) and len(own) == len(rows):
        return rows
    layouts, key = _layouts(rows), (own.tobytes(), ids.tobytes())
    made = layouts.get(key)
    if made is None:
        if len(layouts) >= _LAYOUTS:
            layouts.clear()
        sharing = sharing_of(rows)
        first = sharing.examples(ids[ids != np.uint64(OVERFLOW_ID)]) if sharing else np.zeros(0, np.intp)
        made = layouts[key] = rows_with_shared(rows, own, first, ids)
    return made


def is_additive(frame: Frame) -> bool:
    """Whether values of several rows can be summed: counts and bytes, also per second; not ratios."""
    if frame.kind is not Kind.GAUGE:
        return True
    above = frame.unit.partition("/")[0]
    return above in _DIVISIBLE or (above.startswith("{") and above.endswith("}"))
