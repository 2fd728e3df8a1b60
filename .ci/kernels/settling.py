# SPDX-License-Identifier: Apache-2.0
"""What a run means: said to people, written to the committed file, or made the code that CI fails with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .comparison import Difference, differences
from .matrix import RUNNING
from .outcome import COMMITTED, Outcome, read_committed, write_committed

_SHOWN = 20
"""Differences of one kind; more have one cause, and the file shows them all."""


def settle(measured: Mapping[str, Outcome], *, update: bool, path: Path = COMMITTED) -> int:
    """Say what is different, and write the file when asked to. Returns 1 when something is worse, else 0."""
    committed = read_committed(path)
    comparable = {series: outcome for series, outcome in measured.items() if _same_machine(series, outcome, committed)}
    found = differences(committed, comparable)
    for kind, title in (("worse", "WORSE than bpf/kernels.json"), ("better", "better"), ("other", "different")):
        _list(title, [each for each in found if each.kind == kind])
    if update:
        answered = {series: outcome for series, outcome in measured.items() if outcome.answered}
        write_committed({**committed, **answered}, path)
        say("bpf/kernels.json is written; run make docs, and review the difference like code")
        return 0
    if any(each.kind != "worse" for each in found):
        say("the table is out of date: run make kernel-matrix ARGS=--update")
    return int(any(each.kind == "worse" for each in found))


def _same_machine(series: str, outcome: Outcome, committed: Mapping[str, Outcome]) -> bool:
    """What runs here need not be what ran where the table was made."""
    return series != RUNNING or series not in committed or committed[series].release == outcome.release


def _list(title: str, found: Sequence[Difference]) -> None:
    if found:
        say(f"{title}:")
        for each in found[:_SHOWN]:
            say(f"  {each}")
        if len(found) > _SHOWN:
            say(f"  and {len(found) - _SHOWN} more")


def say(text: str) -> None:
    """Tell people, at once."""
    print(text, flush=True)  # a command
