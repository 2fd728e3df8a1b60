# SPDX-License-Identifier: Apache-2.0
"""Keeps frames within a budget: the least active owners share rows, and the sum of all increases stays the same.

Decisions are made per owner (see `Owners`), for all its metrics. The state of streams, rows and owners is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind
from ebpf_sidecar.pipeline.streams import Attendance, Stream

from .owners import MEASURES, Owners, Positions
from .plan import SHARED, PlanInput, choose_owners
from .row_table import FrameGrowth
from .stream_rows import RemainingBudget, StreamRows

HALF_LIFE = 120.0
"""Seconds after which past activity of an owner counts half as much as present activity."""
_SECONDS, _BYTES, _EVENTS = range(MEASURES)
_WEIGHTS = np.array([1.0, 1.0, 0.01])
_SCALES = {"s": (_SECONDS, 1.0), "By": (_BYTES, 1.0), "{page}": (_BYTES, 4096.0)}
_MAX_AMOUNT = 1e200
"""Above any real activity, but small enough that sums stay finite."""
SPARE_OWNERS = 1024
"""How many owners without rows may be remembered, beyond the number of owners with rows."""
MAX_FORGOTTEN_STREAMS = 10_000
"""How many forgotten streams are remembered by name, so that their past is not counted twice when they return."""

Result = TypeVar("Result")


def cost_of_one(frame: Frame) -> int:  # noqa: ARG001 # the cost function of a budget in rows
    """Each row costs one."""
    return 1


class Folding:
    """Frames in, frames out, one batch of a receiver at a time. Not thread-safe.

    ``budget``: the total cost of rows, ``lines`` each. ``expiration``: for how many seconds a row that is no longer
    reported still uses the budget. ``failed`` is called for frames that cannot be processed, which pass unchanged;
    without it errors are raised.
    """

    def __init__(
        self,
        budget: int,
        expiration: float,
        lines: Callable[[Frame], int] = cost_of_one,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self._budget, self._expiration, self._lines, self._failed = budget, expiration, lines, failed
        self._owners = Owners()
        self._streams: dict[Stream, StreamRows] = {}
        self._attendance: Attendance[Stream] = Attendance()
        self._forgotten: dict[Stream, int] = {}
        self._last_update = 0.0
        self._forget_owners_at = SPARE_OWNERS
        self.used = 0
        """How much of the budget is in use."""
        self.folded = 0
        """How many owners have no rows of their own."""
        self.overflowed = 0
        """How many rows share an overflow row. Like the others a plain number, because other threads read it."""

    def memory(self) -> int:
        """The bytes of all stored row state."""
        return sum(sum(stream.table.memory()) for stream in self._streams.values())

    def fold(self, frames: Frames, now: float) -> list[Frame]:
        """The frames within the budget. ``now``: monotonic seconds."""
        with np.errstate(all="ignore"):  # infinite floats are handled below
            return self._folded(frames, now)

    def _folded(self, frames: Frames, now: float) -> list[Frame]:
        before = now - self._expiration
        self._forget(frames, before)
        self._renumber(self._owners.add(frame.rows for frame in frames))
        taken = [self._safely(frame, self._take, frame, now) for frame in frames]
        self._update_activity([each for each in taken if each], now)
        remaining = self._decide(before)
        shown = [None if each is None else self._safely(each.frame, self._show, each, remaining, now) for each in taken]
        self.used = self._budget - remaining.left
        self.overflowed = sum(stream.overflowed for stream in self._streams.values())
        return [frame if each is None else each for frame, each in zip(frames, shown, strict=True)]

    def _take(self, frame: Frame, now: float) -> FrameGrowth | None:
        if frame.values.dtype.kind not in "uif":
            return None
        stream = self._streams.get(frame.stream)
        if stream is None or not stream.table.fits(frame):
            last = self._forgotten.pop(frame.stream, -1) if stream is None else stream.table.highest()
            stream = self._streams[frame.stream] = StreamRows(frame, self._lines(frame), last)
        return stream.take(frame, self._owners.of(frame.rows), now)

    def _safely(self, frame: Frame, step: Callable[..., Result | None], *arguments: object) -> Result | None:
        """None if a frame cannot be processed: it passes unchanged."""
        try:
            return step(*arguments)
        except Exception as cause:  # whatever is wrong with one frame, the others stay within the budget
            self._drop(frame.stream)  # it may be inconsistent, and later frames would not fit
            if self._failed is None:
                raise
            self._failed(cause)
            return None

    def _show(self, taken: FrameGrowth, remaining: RemainingBudget, now: float) -> Frame:
        stream = self._streams[taken.frame.stream]
        return stream.show(taken, self._owners.named, remaining, now, now - self._expiration)

    def _update_activity(self, taken: Sequence[FrameGrowth], now: float) -> None:
        """Record the owners' activity."""
        amounts = self._owners.amounts
        amounts *= 0.5 ** ((now - self._last_update) / HALF_LIFE)
        amounts[amounts < 1e-9] = 0.0
        self._last_update = now
        for each in taken:
            if each.frame.kind in (Kind.COUNTER, Kind.HISTOGRAM):
                owner = self._owners.of(each.frame.rows)
                measure, weights = _measured(each)
                known = owner >= 0
                amounts[:, measure] += np.bincount(owner[known], weights[known], len(amounts))

    def _activity(self) -> NDArray[np.float64]:
        """Each owner's activity: its shares of seconds, of bytes and, with a small weight, of everything else."""
        totals = self._owners.amounts.sum(axis=0)
        return np.asarray((self._owners.amounts / np.where(totals > 0, totals, 1.0)) @ _WEIGHTS)

    def _decide(self, before: float) -> RemainingBudget:
        """Decide which owners have rows of their own; returns the remaining budget."""
        owners = self._owners
        on_page, alive = RowCosts(), RowCosts()
        shared = taken = 0
        for stream in self._streams.values():
            budget_use = stream.budget_use(before)
            shared += budget_use.shared
            taken += budget_use.unowned
            on_page.add(budget_use.page, stream.lines)
            if stream.seen >= before:
                alive.add(budget_use.live, stream.lines)
        page, live = on_page.of(len(owners)), alive.of(len(owners))
        state = PlanInput(
            self._budget,
            shared + taken,
            owners.groups,
            owners.named,
            owners.fresh,
            page,
            live,
            self._activity(),
            owners.arrivals,
        )
        owners.named = choose_owners(state)
        owners.fresh = np.zeros(len(owners), np.bool_)
        self.folded = int((~owners.named & (live > 0)).sum())
        return RemainingBudget(self._budget - shared - taken - int(page.sum()), int(SHARED * self._budget) - shared)

    def _forget(self, frames: Frames, before: float) -> None:
        """Forget streams that no longer appear, and owners without rows."""
        streams = [frame.stream for frame in frames]
        for source in dict.fromkeys(stream.origin.source for stream in streams):
            mine = [stream for stream in streams if stream.origin.source == source]
            for gone in self._attendance.batch(source, mine):
                self._drop(gone)
        if len(self._owners) >= self._forget_owners_at:
            self._forget_owners(before)

    def _drop(self, stream: Stream) -> None:
        """Forget a stream's rows, except the highest id."""
        rows = self._streams.pop(stream, None)
        if rows is not None and len(self._forgotten) < MAX_FORGOTTEN_STREAMS:
            self._forgotten[stream] = rows.table.highest()

    def _forget_owners(self, before: float) -> None:
        tables = [stream.table for stream in self._streams.values()]
        numbers = self._owners.forget(
            table.owner[rows] for table in tables for rows in (table.present, table.on_page(before))
        )
        self._forget_owners_at = 2 * len(self._owners) + SPARE_OWNERS
        self._renumber(numbers)

    def _renumber(self, numbers: Positions | None) -> None:
        """Apply the owners' new numbers, if they changed."""
        if numbers is not None:
            for stream in self._streams.values():
                stream.renumber(numbers)


class RowCosts:
    """Sums the cost of rows by owner."""

    def __init__(self) -> None:
        self._owners: list[Positions] = []
        self._lines: list[int] = []

    def add(self, owners: Positions, lines: int) -> None:
        """Add rows of these owners, which cost ``lines`` each."""
        if len(owners):
            self._owners.append(owners)
            self._lines.append(lines)

    def of(self, number: int) -> NDArray[np.float64]:
        """The sum for each of ``number`` owners."""
        if not self._owners:
            return np.zeros(number)
        lines = np.repeat(self._lines, [len(owners) for owners in self._owners])
        return np.bincount(np.concatenate(self._owners), lines.astype(np.float64), number).astype(np.float64)


def _measured(taken: FrameGrowth) -> tuple[int, NDArray[np.float64]]:
    """The activity in a frame: one of the measures, and the amount for each row."""
    measure, scale = _SCALES.get(taken.frame.unit, (_EVENTS, 1.0))
    values = taken.growth[0] if measure == _EVENTS or len(taken.growth) == 1 else taken.growth[1]
    return measure, np.clip(np.nan_to_num(values.sum(axis=1) * scale, nan=0.0), 0.0, _MAX_AMOUNT)
