# SPDX-License-Identifier: Apache-2.0
"""Compares expected with measured values: the verdict on one case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .case import Case, CaseFile
from .oracles import ORACLES, Observation, Unavailable

CaseVerdict = Literal["ok", "wrong", "skipped"]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One line of the report. ``expected``, ``measured`` and ``tolerance`` are in the metric's unit, None if skipped.

    ``why``: the reason of a verdict other than ok. ``attempts``: how often the workload was run for it; more than once
    if the first result was wrong.
    """

    metric: str
    attributes: Mapping[str, str]
    value: str
    workload: str
    oracle: str
    expected: float | None
    measured: float | None
    tolerance: float | None
    verdict: CaseVerdict
    why: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """What is known after a workload: ``measured`` returns the probes' value for a case."""

    observation: Observation
    measured: Callable[[Case], float]


@dataclass(frozen=True, slots=True)
class Preconditions:
    """Decides, before anything runs, whether a case can be checked.

    ``unavailable``: why each absent metric is absent. ``lacks``: why a need of a case is not met. ``problem``: with
    disk workloads.
    """

    unavailable: Mapping[str, str]
    lacks: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    def obstacle(self, case: Case, file: CaseFile) -> str:
        """Why the case cannot be checked here; empty if it can."""
        missing = [self.lacks[need] for need in case.needs if need in self.lacks]
        on_disk = self.problem if file.workloads[case.workload].disk else ""
        return self.unavailable.get(case.metric, "") or on_disk or "; ".join(dict.fromkeys(missing))


def judge(case: Case, run: Run) -> CaseResult:
    """The verdict on a case whose workload has run."""
    try:
        expected, half = ORACLES[case.oracle].ask(run.observation, case.fact)
    except Unavailable as reason:
        return skipped(case, str(reason))
    except (KeyError, TypeError):  # scripts may come from a third party
        return skipped(case, f'the workload does not report the number "{case.fact or "seconds"}"')
    counted = run.measured(case)
    tolerance = half + (0 if case.exact else max(case.slack if _counts(case) else 0, case.share * abs(expected)))
    good = 0 < counted <= expected + tolerance if case.at_most else abs(counted - expected) <= tolerance
    why = "" if good else _difference(case, expected, counted)
    return replace(
        skipped(case, why),
        expected=float(expected),
        measured=counted,
        tolerance=float(tolerance),
        verdict="ok" if good else "wrong",
    )


def skipped(case: Case, reason: str) -> CaseResult:
    """The verdict on a case that cannot be checked."""
    oracle = ORACLES[case.oracle].name
    return CaseResult(
        case.metric, dict(case.attributes), case.value, case.workload, oracle, None, None, None, "skipped", reason
    )


def unchecked(file: CaseFile, metrics: Sequence[str]) -> list[CaseResult]:
    """A line for each of ``metrics`` without a case."""
    reasons = {each.metric: each.reason for each in file.unchecked}
    covered = {case.metric for case in file.cases}
    return [
        CaseResult(
            metric, {}, "count", "", "", None, None, None, "skipped", reasons.get(metric, "there is no case for it")
        )
        for metric in metrics
        if metric not in covered
    ]


def _counts(case: Case) -> bool:
    """Seconds are compared only by share: four of them are a lot."""
    return case.oracle != "own_clock"


def _difference(case: Case, expected: float, counted: float) -> str:
    limit = "at most " if case.at_most else ""
    return f"expected {limit}{expected:g}, measured {counted:g}"
