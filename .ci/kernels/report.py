# SPDX-License-Identifier: Apache-2.0
"""Converts the JSON of ``ebpf-sidecar selftest --json`` to the part that is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .outcome import Checked, HookOutcome, Outcome

_START, _END = 80, 100
"""Characters kept of a reason: a verifier's log can be pages long, with the meaning at the end."""


def outcome_of(printed: str, release: str, reported: str = "") -> Outcome:
    """The outcome that the selftest ``printed``; if that is not a report, ``reported`` (its errors) gives the
    problem."""
    try:
        report: Mapping[str, Any] = json.loads(printed)
    except ValueError:
        last = (reported.strip().splitlines() or ["it printed nothing"])[-1]
        return Outcome(release, f"the selftest failed: {_short(last)}", answered=True)
    if report["error"]:
        return Outcome(release, _short(report["error"]), answered=True)
    refused = [hook["reason"] for hook in report["hooks"] if not hook["attached"]]
    by_metric: dict[str, list[Any]] = {}
    for result in report["metrics"]:
        by_metric.setdefault(result["metric"], []).append(result)
    return Outcome(
        report["kernel"],
        hooks={f"{hook['probe']}.{hook['hook']}": _hook(hook) for hook in report["hooks"]},
        metrics={name: _checked(results, refused) for name, results in by_metric.items()},
        answered=True,
        checks=Counter(result["verdict"] for result in report["metrics"]),
    )


def _hook(reported: Mapping[str, Any]) -> HookOutcome:
    reason = reported["live_reason"] if reported["attached"] else reported["reason"]
    return HookOutcome(reported["way"] if reported["attached"] else "", reported["live"], _short(reason))


def _checked(results: Sequence[Mapping[str, Any]], refused: Sequence[str]) -> Checked:
    """A metric is right when at least one value was compared, and none was found wrong."""
    wrong = [result for result in results if result["verdict"] == "wrong"]
    right = [result for result in results if result["verdict"] == "ok"]
    oracles = tuple(sorted({result["oracle"] for result in (wrong or right)}))
    if wrong:
        return Checked("wrong", oracles, _short(f"{wrong[0]['workload']}: {wrong[0]['why']}"))
    if right:
        return Checked("right", oracles)
    reason = results[0]["why"]
    absent = any(hook and hook in reason for hook in refused)
    return Checked("absent" if absent else "unchecked", (), _short(reason))


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _START + _END else f"{words[:_START]} … {words[-_END:]}"
