# SPDX-License-Identifier: Apache-2.0
"""What `make kernel-matrix` found on each kernel, from bpf/kernels.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kernels.outcome import PROOFS, HookOutcome, Outcome, read_committed

from .text import block, bullets, code, inline, table

Outcomes = Mapping[str, Outcome]
_TOTALS = ("kernel", "release", "hooks attached", "fire", "checks right", "wrong", "unchecked", "metrics right")


@block
def kernel_matrix() -> str:
    """Tables of kernels, hooks and metrics, each with what a table cannot hold below it."""
    return "\n\n".join(matrix_parts(with_proofs(read_committed(), read_committed(PROOFS))))


def with_proofs(outcomes: Outcomes, proofs: Outcomes) -> Outcomes:
    """Metrics that no selftest can check have the verdict of the guests' tests; so has what these find wrong."""
    return {series: _with_proof(outcome, proofs.get(series)) for series, outcome in outcomes.items()}


def _with_proof(outcome: Outcome, proof: Outcome | None) -> Outcome:
    tried = {} if proof is None else {n: c for n, c in proof.metrics.items() if c.verdict in ("right", "wrong")}
    unchecked = {name for name, checked in outcome.metrics.items() if checked.verdict == "unchecked"}
    reports = {name: checked for name, checked in tried.items() if name in unchecked or checked.verdict == "wrong"}
    return replace(outcome, metrics={**outcome.metrics, **reports})


def matrix_parts(outcomes: Outcomes) -> Iterator[str]:
    """The parts of the text; kernels are columns, in the order of ``outcomes``."""
    yield table(_TOTALS, (_totals_row(series, outcome) for series, outcome in outcomes.items()))
    yield from _notes((series, series, outcome.problem) for series, outcome in outcomes.items() if outcome.problem)
    answered = {series: outcome for series, outcome in outcomes.items() if not outcome.problem}
    names = list(dict.fromkeys(name for outcome in answered.values() for name in outcome.hooks))
    header = ("hook", "attached to", *answered)
    yield table(header, (row for name in names for row in _hook_rows(name, answered)))
    yield from _notes(_hook_notes(names, answered))
    metrics = list(dict.fromkeys(name for outcome in answered.values() for name in outcome.metrics))
    yield table(("metric", *answered, "compared with"), (_metric_row(name, answered) for name in metrics))
    yield from _notes(_metric_notes(metrics, answered))


def _totals_row(series: str, outcome: Outcome) -> Sequence[str]:
    """A kernel of which nothing is known has its reason below the table."""
    if outcome.problem:
        return (series, code(outcome.release) if outcome.release else "", *[""] * 6)
    attached = [hook for hook in outcome.hooks.values() if hook.way]
    verdicts = [checked.verdict for checked in outcome.metrics.values()]
    return (
        series,
        code(outcome.release),
        f"{len(attached)} of {len(outcome.hooks)}",
        str(sum(hook.live is True for hook in attached)),
        *(str(outcome.checks.get(verdict, 0)) for verdict in ("ok", "wrong", "skipped")),
        f"{verdicts.count('right')} of {verdicts.count('right') + verdicts.count('wrong')}",
    )


def _hook_rows(name: str, outcomes: Outcomes) -> Iterator[Sequence[str]]:
    """A row for each attach point that some kernel uses; kernels without one show that in the first."""
    hooks = {series: outcome.hooks.get(name, HookOutcome()) for series, outcome in outcomes.items()}
    ways = list(dict.fromkeys(hook.way for hook in hooks.values() if hook.way)) or [""]
    for way in ways:
        first = way == ways[0]
        cells = [_cell(hook, way, first=first) for hook in hooks.values()]
        yield (code(name) if first else "", _way_words(way), *cells)


def _way_words(way: str) -> str:
    kind, _, event = way.partition(" ")
    return f"{kind.replace('_', ' ')} {code(event)}".strip()


def _cell(hook: HookOutcome, way: str, *, first: bool) -> str:
    if hook.way != way or not way:
        return "no" if first and not hook.way else ""
    return {True: "fires", False: "silent", None: "attached"}[hook.live]


def _metric_row(name: str, outcomes: Outcomes) -> Sequence[str]:
    found = [outcome.metrics.get(name) for outcome in outcomes.values()]
    oracles = sorted({oracle for checked in found if checked for oracle in checked.oracles})
    return (code(name), *(checked.verdict if checked else "" for checked in found), ", ".join(oracles))


def _hook_notes(names: Sequence[str], outcomes: Outcomes) -> Iterator[tuple[str, str, str]]:
    for name in names:
        for series, outcome in outcomes.items():
            hook = outcome.hooks.get(name)
            if hook and hook.reason and not (hook.way and hook.live):
                yield name, series, hook.reason


def _metric_notes(names: Sequence[str], outcomes: Outcomes) -> Iterator[tuple[str, str, str]]:
    """Why a metric is absent is reported by its hook."""
    for name in names:
        for series, outcome in outcomes.items():
            checked = outcome.metrics.get(name)
            if checked and checked.reason and checked.verdict != "absent":
                yield name, series, checked.reason


def _notes(notes: Iterator[tuple[str, str, str]]) -> Iterator[str]:
    """What holds for several kernels is stated once."""
    where: dict[tuple[str, str], list[str]] = {}
    for name, series, reason in notes:
        where.setdefault((name, reason), []).append(series)
    if where:
        yield bullets(
            f"{code(name)} on {', '.join(series)}: {inline(reason)}" for (name, reason), series in where.items()
        )
