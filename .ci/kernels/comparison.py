# SPDX-License-Identifier: Apache-2.0
"""Differences from the committed table: worse (CI fails), better (update it), or other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from .outcome import Checked, HookOutcome, Outcome, checks_words
from .series import series_of

_Part = TypeVar("_Part", HookOutcome, Checked)

_RANK = {"right": 2, "unchecked": 1, "absent": 1, "wrong": 0}
"""Better than before is more; a number that is wrong is worse than none."""


@dataclass(frozen=True, slots=True)
class Difference:
    """``what`` is a hook's or a metric's name; ``was`` and ``now`` are for people."""

    kind: Literal["worse", "better", "other"]
    series: str
    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.series}: {self.what}: was {self.was}, is {self.now}"


def differences(committed: Mapping[str, Outcome], measured: Mapping[str, Outcome]) -> list[Difference]:
    """All differences; a kernel that was not available or did not finish is not one, but a row that says so."""
    return [
        difference
        for series, outcome in measured.items()
        if outcome.answered
        for difference in _of_kernel(series, committed.get(series), outcome)
    ]


def worse(committed: Mapping[str, Outcome], measured: Mapping[str, Outcome]) -> list[str]:
    """The kernels on which something is worse."""
    found = differences(committed, measured)
    return list(dict.fromkeys(each.series for each in found if each.kind == "worse"))


def _of_kernel(series: str, was: Outcome | None, now: Outcome) -> Iterator[Difference]:
    if was is None:
        yield Difference("other", series, "selftest", "not in the table", now.totals())
    elif series_of(was.release) != series_of(now.release):
        # what Debian published overnight is news, not caused by the change that CI checks
        yield Difference("other", series, "kernel", was.release, f"{now.release}, which is not in the table")
        yield from (replace(each, kind="other") for each in _of_release(series, was, now))
    else:
        yield from _of_release(series, was, now)


def _of_release(series: str, was: Outcome, now: Outcome) -> Iterator[Difference]:
    if now.problem:
        if now.problem != was.problem:
            yield Difference("other" if was.problem else "worse", series, "selftest", was.totals(), now.problem)
        return
    if was.checks != now.checks:
        yield Difference("other", series, "checks", checks_words(was.checks), checks_words(now.checks))
    for name in {**was.hooks, **now.hooks}:
        before, after = was.hooks.get(name), now.hooks.get(name)
        kind = _kind(_hook_rank(before), _hook_rank(after), same=_seen(before) == _seen(after))
        if kind:
            yield Difference(kind, series, f"hook {name}", _hook_words(before), _hook_words(after))
    for name in {**was.metrics, **now.metrics}:
        old, new = was.metrics.get(name), now.metrics.get(name)
        kind = _kind(_metric_rank(old), _metric_rank(new), same=(old and old.verdict) == (new and new.verdict))
        if kind:
            yield Difference(kind, series, f"metric {name}", _metric_words(old), _metric_words(new))


def better_of(one: Outcome, other: Outcome) -> Outcome:
    """Each hook and each metric as in the better of two runs on a kernel: what is wrong only once is an accident."""
    if not other.answered or (other.problem and not one.problem):
        return one
    if not one.answered or one.problem:
        return other
    return replace(
        other,
        hooks=_better(one.hooks, other.hooks, _hook_rank),
        metrics=_better(one.metrics, other.metrics, _metric_rank),
        checks=min(one.checks, other.checks, key=lambda checks: checks.get("wrong", 0)),
    )


def _better(
    one: Mapping[str, _Part], other: Mapping[str, _Part], rank: Callable[[_Part | None], int]
) -> dict[str, _Part]:
    return {**one, **{name: part for name, part in other.items() if rank(part) >= rank(one.get(name))}}


def _kind(was: int, now: int, *, same: bool) -> Literal["worse", "better", "other"] | None:
    if was != now:
        return "worse" if now < was else "better"
    return None if same else "other"


def _seen(hook: HookOutcome | None) -> tuple[str, bool | None] | None:
    return (hook.way, hook.live) if hook else None


def _hook_rank(hook: HookOutcome | None) -> int:
    """Not attached, attached but silent, attached (nothing triggers it there), firing."""
    if hook is None or not hook.way:
        return 0
    return {False: 1, None: 2, True: 3}[hook.live]


def _metric_rank(checked: Checked | None) -> int:
    """A metric that is missing was removed on purpose or by mistake: as bad as wrong."""
    return _RANK[checked.verdict] if checked else 0


def _hook_words(hook: HookOutcome | None) -> str:
    if hook is None:
        return "not there"
    if not hook.way:
        return f"not attached ({hook.reason})"
    return f"{hook.way}, " + {True: "firing", False: "silent", None: "not triggered"}[hook.live]


def _metric_words(checked: Checked | None) -> str:
    if checked is None:
        return "not there"
    return checked.verdict + (f" ({checked.reason})" if checked.reason else "")
