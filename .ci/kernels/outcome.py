# SPDX-License-Identifier: Apache-2.0
"""What the selftest reported on one kernel, without what differs from run to run; and the committed file of them
all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

COMMITTED = Path(__file__).resolve().parents[2] / "bpf" / "kernels.json"
PROOFS = COMMITTED.with_name("proofs.json")
"""The same of the tests for guests: they find metrics right or wrong that a selftest cannot check."""

MetricVerdict = Literal["right", "wrong", "absent", "unchecked"]
"""Of a metric: all its values agree with their oracles; one does not; this kernel has no hook for it; not tried."""


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """A hook on one kernel. ``way``: its attach point, as ``raw_tracepoint block:block_rq_issue``, empty if not
    attached.

    ``live``: whether it fired when triggered; None if nothing could trigger it.
    """

    way: str = ""
    live: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on a metric. ``oracles``: what it was compared with."""

    verdict: MetricVerdict
    oracles: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kernel. ``problem``: why nothing is known of it, otherwise empty. Hooks are named ``probe.hook``.

    ``answered``: whether the selftest ran to its end, so that a problem is the product's. ``checks``: how many of the
    selftest's comparisons ended in each verdict of its own (ok, wrong, skipped).
    """

    release: str = ""
    problem: str = ""
    hooks: Mapping[str, HookOutcome] = field(default_factory=dict)
    metrics: Mapping[str, Checked] = field(default_factory=dict)
    answered: bool = False
    checks: Mapping[str, int] = field(default_factory=dict)

    def totals(self) -> str:
        """In one line."""
        if self.problem:
            return self.problem
        attached = [hook for hook in self.hooks.values() if hook.way]
        live = sum(hook.live is True for hook in attached)
        verdicts = [checked.verdict for checked in self.metrics.values()]
        tried = verdicts.count("right") + verdicts.count("wrong")
        hooks = f"{len(attached)} of {len(self.hooks)} hooks attached, {live} seen firing, " if self.hooks else ""
        return f"{hooks}{verdicts.count('right')} of {tried} metrics right, checks: {checks_words(self.checks)}"


def checks_words(checks: Mapping[str, int]) -> str:
    """As ``54 right, 0 wrong, 10 unchecked``."""
    return f"{checks.get('ok', 0)} right, {checks.get('wrong', 0)} wrong, {checks.get('skipped', 0)} unchecked"


def read_committed(path: Path = COMMITTED) -> Mapping[str, Outcome]:
    """Outcomes by series, in the file's order; empty when there is no file yet."""
    if not path.exists():
        return {}
    return {series: _outcome(reported) for series, reported in json.loads(path.read_text(encoding="utf-8")).items()}


def _outcome(reported: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Outcome:
    hooks = {name: HookOutcome(**hook) for name, hook in reported["hooks"].items()}  # type: ignore[arg-type] # our own file
    metrics = {
        name: Checked(**{**checked, "oracles": tuple(checked["oracles"])})  # type: ignore[arg-type] # our own file
        for name, checked in reported["metrics"].items()
    }
    checks = {verdict: int(count) for verdict, count in reported["checks"].items()}  # type: ignore[call-overload] # as above
    return Outcome(
        str(reported["release"]), str(reported["problem"]), hooks, metrics, bool(reported["answered"]), checks
    )


def write_committed(outcomes: Mapping[str, Outcome], path: Path = COMMITTED) -> None:
    """Write the file so that a reviewer can read the diff: one line per hook and metric."""
    path.write_text(to_text(outcomes), encoding="utf-8")


def to_text(outcomes: Mapping[str, Outcome]) -> str:
    """The file's text."""
    return f"{_object({series: _object(_parts(outcome), 1) for series, outcome in outcomes.items()}, 0)}\n"


def _parts(outcome: Outcome) -> Mapping[str, str]:
    plain = {name: json.dumps(getattr(outcome, name)) for name in ("release", "problem", "answered")}
    hooks = {name: _line(hook) for name, hook in outcome.hooks.items()}
    return {
        **plain,
        "checks": json.dumps(dict(outcome.checks)),
        "hooks": _object(hooks, 2),
        "metrics": _object({n: _line(m) for n, m in outcome.metrics.items()}, 2),
    }


def _line(reported: HookOutcome | Checked) -> str:
    return json.dumps(asdict(reported), ensure_ascii=False)


def _object(parts: Mapping[str, str], depth: int) -> str:
    """``parts``: JSON texts by key; each gets a line of its own."""
    inner = ",\n".join(f"{' ' * (depth + 1)}{json.dumps(key)}: {text}" for key, text in parts.items())
    return f"{{\n{inner}\n{' ' * depth}}}" if parts else "{}"
