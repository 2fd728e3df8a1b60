# SPDX-License-Identifier: Apache-2.0
"""Chooses the owners with rows of their own: the three most active of each cgroup, then the most active overall.

Decisions are sticky: owners with rows count twice, so that two about equally active owners do not alternate. An owner
that loses its rows continues in a shared row, but its old series stay on the page, and use the budget, until they
expire. So only a part of the budget is given out at once:

* up to `FILL` of it to any owner, and up to `KEEP` to the three most active of a cgroup;
* the rest is for new activity of owners (a system call not made before), and for shared rows.

If live rows use more than `CROWDED`, or a more active owner waits, the least active owners lose their rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .identity import Hashes
from .owners import Mask, Positions

BUSIEST = 3
"""How many owners of each cgroup come before all others."""
STAY = 2.0
"""How many times as active an owner must be to replace one that has rows of its own."""
FILL, CROWDED, KEEP = 0.6, 0.8, 0.9
SHARED = 0.3
"""The part of the budget that rows called `other` may use; anything beyond goes to the overflow row."""


@dataclass(frozen=True, slots=True)
class PlanInput:
    """The input of a decision. Arrays have one entry per owner, in units of the budget.

    ``page``: its own series on the page, including those that will expire; ``live``: the series that it has, or would
    have. ``taken``: the fixed part (shared rows, rows without an owner). ``activity``: its recent activity.
    ``arrivals``: the order of arrival, which decides between equals.
    """

    budget: int
    taken: int
    groups: Hashes
    named: Mask
    fresh: Mask
    page: NDArray[np.float64]
    live: NDArray[np.float64]
    activity: NDArray[np.float64]
    arrivals: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Order:
    """Owners from the most to the least important; ``first``: which are among the most active of their cgroup."""

    order: Positions
    first: Mask
    within: Mask


def choose_owners(state: PlanInput) -> Mask:
    """The owners that have rows of their own from now on."""
    everyone = state.named | state.fresh
    if everyone.all() and state.taken + float(np.maximum(state.page, state.live).sum()) <= (FILL * state.budget):
        return everyone
    order = _order(state)
    waiting = order.within & ~state.named & ((state.activity > 0) | state.fresh)
    leaving = _leaving(state, order, waiting)
    return np.asarray((state.named & ~leaving) | _coming(state, order, waiting))


def _order(now: PlanInput) -> _Order:
    weight = now.activity * np.where(now.named, STAY, 1.0)
    by_group = np.lexsort((now.arrivals, -weight, now.groups))
    groups = now.groups[by_group]
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1])) if len(groups) else np.zeros(0, np.intp)
    rank = np.empty(len(groups), np.intp)
    rank[by_group] = np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
    tier = np.minimum(rank, BUSIEST)
    order = np.lexsort((now.arrivals, -weight, tier))
    first, within = tier < BUSIEST, np.zeros(len(order), np.bool_)
    costs = np.maximum(now.live, now.page * now.named)
    within[order] = _fitting(costs[order], np.where(first, CROWDED, FILL)[order] * now.budget, now.taken)
    return _Order(order, first, within)


def _leaving(now: PlanInput, order: _Order, waiting: Mask) -> Mask:
    """The least active owners with rows of their own, as many as must lose them."""
    used = float(now.page[now.named].sum()) + now.taken  # without series that will expire
    need = used - FILL * now.budget if used > CROWDED * now.budget else 0.0
    for limit, waits in ((KEEP, waiting & order.first), (FILL, waiting & ~order.first)):
        if waits.any():
            used += float(now.live[waits].sum())
            need = max(need, used - limit * now.budget)
    candidates = order.order[::-1]
    candidates = candidates[(now.named & ~order.within)[candidates]]
    leaving = np.zeros(len(now.named), np.bool_)
    before = np.cumsum(now.page[candidates]) - now.page[candidates]
    leaving[candidates[before < need]] = True
    return leaving


def _coming(now: PlanInput, order: _Order, waiting: Mask) -> Mask:
    """The owners that get rows of their own: new ones, and those whose old series have left the page."""
    wanted = now.fresh | (waiting & (now.page == 0))
    candidates = order.order[wanted[order.order]]
    limits = np.where(order.first[candidates], KEEP, FILL) * now.budget
    coming = np.zeros(len(wanted), np.bool_)
    coming[candidates] = _fitting(now.live[candidates], limits, now.taken + float(now.page.sum()))
    return coming


def _fitting(costs: NDArray[np.float64], limits: NDArray[np.float64], used: float) -> Mask:
    """Which ones fit, in order; one that is too large does not exclude those after it."""
    fitting = np.zeros(len(costs), np.bool_)
    smallest, largest = float(costs.min(initial=np.inf)), float(limits.max(initial=0.0))
    for place, (cost, limit) in enumerate(zip(costs.tolist(), limits.tolist(), strict=True)):
        if used + smallest > largest:
            break
        if used + cost <= limit:
            fitting[place] = True
            used += cost
    return fitting
