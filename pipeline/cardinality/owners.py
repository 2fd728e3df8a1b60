# SPDX-License-Identifier: Apache-2.0
"""The owners of rows: an owner is one process name in one cgroup or container, across all metrics."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.rows import OVERFLOW, RowSet, Text, once_per_row_set, texts

from .identity import Hashes, attribute_hashes

OWNER_PREFIXES = ("process.", "container.", "k8s.")
"""Prefixes of the attributes that identify an owner; a container's rows may have no cgroup path."""
EXECUTABLE = "process.executable.name"
PROCESS = (EXECUTABLE, "process.pid")
"""The attributes that rows lose when they share a row of their cgroup; the name becomes `OTHER`."""
OTHER = "other"
NO_OWNER, OTHERS, OVERFLOWED, FORGOTTEN = -1, -2, -3, -4
"""Special values instead of an owner's number: the row names no process; it was a shared row already when it arrived,
or the overflow row; its owner was forgotten."""
MEASURES = 3
"""The measures of activity: seconds, bytes, and counts of anything else."""

Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]


class _Known:
    """State of a row set: its rows' owners as of one numbering, and the generation in which all were added."""

    def __init__(self, rows: RowSet) -> None:  # noqa: ARG002 # made for each
        self.epoch = self.forgets = -1
        self.numbers: Positions = np.zeros(0, np.intp)


class Owners:
    """All owners that have rows, in the order of their `identity`. Arrays have one entry per owner.

    ``groups``: the identity of the owner's cgroup or container. ``amounts``: owners × `MEASURES`, its activity, recent
    activity weighted more. ``named``: whether it has rows of its own. ``fresh``: not decided yet. ``arrivals``: the
    order of arrival.
    """

    def __init__(self) -> None:
        self._hashes = np.zeros(0, np.uint64)
        self.groups = np.zeros(0, np.uint64)
        self.amounts = np.zeros((0, MEASURES))
        self.named = np.zeros(0, np.bool_)
        self.fresh = np.zeros(0, np.bool_)
        self.arrivals = np.zeros(0, np.int64)
        self._arrived = 0
        self._epoch = self._forgets = 0
        self._identities = once_per_row_set(_identities)
        self._known = once_per_row_set(_Known)

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, rows: Iterable[RowSet]) -> Positions | None:
        """Add the owners of ``rows`` that are not known yet.

        Returns the new number of each old owner; None if nothing changed.
        """
        unknown = [each for each in rows if self._known(each).forgets != self._forgets]
        for each in unknown:
            self._known(each).forgets = self._forgets
        found = [self._identities(each) for each in unknown]
        if not found:
            return None
        hashes, first = np.unique(np.concatenate([hashes for hashes, _, _ in found]), return_index=True)
        new = (hashes != 0) & ~np.isin(hashes, self._hashes)
        if not new.any():
            return None
        number = int(new.sum())
        order = np.argsort(np.append(self._hashes, hashes[new]), kind="stable")
        groups = np.concatenate([groups for _, groups, _ in found])[first[new]]
        moved = np.argsort(order, kind="stable")[: len(self)]
        self._hashes = np.append(self._hashes, hashes[new])[order]
        self.groups = np.append(self.groups, groups)[order]
        self.amounts = np.concatenate([self.amounts, np.zeros((number, MEASURES))])[order]
        self.named = np.append(self.named, np.zeros(number, np.bool_))[order]
        self.fresh = np.append(self.fresh, np.ones(number, np.bool_))[order]
        self.arrivals = np.append(self.arrivals, self._arrived + first[new])[order]
        self._arrived += int(first.max()) + 1
        self._epoch += 1
        return moved

    def of(self, rows: RowSet) -> Positions:
        """The owner's number of each row, or `NO_OWNER`, `OTHERS` or `OVERFLOWED`. They must have been added."""
        known = self._known(rows)
        if known.epoch != self._epoch:
            hashes, _, special = self._identities(rows)
            known.numbers = np.where(special < 0, special, np.searchsorted(self._hashes, hashes))
            known.epoch = self._epoch
        return known.numbers

    def forget(self, seen: Iterable[Positions]) -> Positions:
        """Forget owners that are not in ``seen``.

        Returns the new number of each old owner, `FORGOTTEN` for forgotten ones.
        """
        kept = np.zeros(len(self), np.bool_)
        for numbers in seen:
            kept[numbers[numbers >= 0]] = True
        self._hashes, self.groups = self._hashes[kept], self.groups[kept]
        self.amounts, self.named, self.fresh = self.amounts[kept], self.named[kept], self.fresh[kept]
        self.arrivals = self.arrivals[kept]
        self._epoch += 1
        self._forgets += 1
        return np.where(kept, np.cumsum(kept) - 1, FORGOTTEN)


def _identities(rows: RowSet) -> tuple[Hashes, Hashes, Positions]:
    """The identities of each row's owner and of its cgroup, 0 if there is none; and the special value, or 0."""
    named = {name: column for name, column in rows.columns.items() if name.startswith(OWNER_PREFIXES)}
    hashes = attribute_hashes(named, len(rows))
    groups = attribute_hashes({name: column for name, column in named.items() if name not in PROCESS}, len(rows))
    special = np.where(hashes == 0, NO_OWNER, 0)
    if EXECUTABLE in named:
        special[has(texts(named[EXECUTABLE]), OTHER)] = OTHERS
    if OVERFLOW in rows.columns:
        special[~has(texts(rows.columns[OVERFLOW]), "")] = OVERFLOWED
    hashes[special < 0] = 0
    return hashes, groups, special


def has(column: Text, word: str) -> Mask:
    """Which rows have the given word."""
    return np.array([each == word for each in column.words], np.bool_)[column.codes]
