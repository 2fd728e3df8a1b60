# SPDX-License-Identifier: Apache-2.0
"""Reports the result of a run, writes it to the committed file, and makes it the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .comparison import Difference, better_of, differences, worse
from .matrix import RUNNING
from .outcome import COMMITTED, Outcome, read_committed, write_committed

_SHOWN = 20
"""Differences of one kind; more have one cause, and the file shows them all."""


def doubtful(measured: Mapping[str, Outcome], path: Path) -> Sequence[str]:
    """The kernels that must be run again, because something is worse there than in the file."""
    committed = read_committed(path)
    return worse(committed, _comparable(measured, committed))


def settled_by(first: Mapping[str, Outcome], second: Mapping[str, Outcome]) -> Mapping[str, Outcome]:
    """``first`` with the better results of a ``second`` run of some kernels; reports what was wrong only once."""
    better = {series: better_of(first[series], outcome) for series, outcome in second.items()}
    once = [each for look in (first, second) for each in differences(better, look) if each.kind == "worse"]
    _list("NOT STEADY, in one of two runs", once)
    return {**first, **better}


def settle(measured: Mapping[str, Outcome], *, update: bool, path: Path = COMMITTED) -> int:
    """Report the differences, and write the file if requested. Returns 1 if something is worse, otherwise 0."""
    committed = read_committed(path)
    for series, outcome in measured.items():
        log(f"{series:<10}{outcome.release:<28}{outcome.totals()}")
    found = differences(committed, _comparable(measured, committed))
    for kind, title in (("worse", f"WORSE than bpf/{path.name}"), ("better", "better"), ("other", "different")):
        _list(title, [each for each in found if each.kind == kind])
    if update:
        answered = {series: outcome for series, outcome in measured.items() if outcome.answered}
        write_committed({**committed, **answered}, path)
        log(f"bpf/{path.name} is written; run make docs, and review the difference like code")
        return 0
    if any(each.kind != "worse" for each in found):
        log("the table is out of date: run make kernel-matrix ARGS=--update")
    return int(any(each.kind == "worse" for each in found))


def _comparable(measured: Mapping[str, Outcome], committed: Mapping[str, Outcome]) -> Mapping[str, Outcome]:
    return {series: outcome for series, outcome in measured.items() if _same_machine(series, outcome, committed)}


def _same_machine(series: str, outcome: Outcome, committed: Mapping[str, Outcome]) -> bool:
    """The kernel running here may differ from the one where the table was made."""
    return series != RUNNING or series not in committed or committed[series].release == outcome.release


def _list(title: str, found: Sequence[Difference]) -> None:
    if found:
        log(f"{title}:")
        for each in found[:_SHOWN]:
            log(f"  {each}")
        if len(found) > _SHOWN:
            log(f"  and {len(found) - _SHOWN} more")


def log(text: str) -> None:
    """Print immediately."""
    print(text, flush=True)  # a command
