# SPDX-License-Identifier: Apache-2.0
"""The generated files of deploy/skywalking/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ebpf_sidecar.pipeline.metric_info import MetricInfo

from .alarms import alarms_text
from .dashboards import NAMES, horizon_widgets, template
from .rules import INSTANCE, SERVICE, Rule, Scope, rules
from .rules_text import FILES, rules_text

FOLDER = Path(__file__).resolve().parents[2] / "deploy/skywalking"
RULES = "otel-rules/ebpf-sidecar"
_GENERATED = ("otel-rules/**/*.yaml", "dashboards/**/*.json", "alarm-settings.yaml")


def made(metrics: Iterable[MetricInfo]) -> Mapping[Scope, Sequence[Rule]]:
    """All rules, by scope."""
    known = list(metrics)
    return {scope: rules(known, scope) for scope in (SERVICE, INSTANCE)}


def files(metrics: Iterable[MetricInfo]) -> Mapping[str, str]:
    """The text of each, by its path in the folder."""
    found = made(metrics)
    return {
        **{f"{RULES}/{name}": rules_text(found[scope], scope) for name, scope in FILES.items()},
        **{f"dashboards/10/{name.lower()}.json": template(found, scope) for scope, name in NAMES.items()},
        "dashboards/11/banyandb-widgets.json": horizon_widgets(found),
        "alarm-settings.yaml": alarms_text(),
    }


def stale(metrics: Iterable[MetricInfo]) -> list[str]:
    """Those whose committed text is another, or that should not be there."""
    wanted = files(metrics)
    there = {str(path.relative_to(FOLDER)) for pattern in _GENERATED for path in FOLDER.glob(pattern)}
    wrong = (name for name, text in wanted.items() if name not in there or (FOLDER / name).read_text() != text)
    return sorted({*wrong, *(there - set(wanted))})


def write(metrics: Iterable[MetricInfo]) -> None:
    """Write all of them."""
    for name, text in files(metrics).items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
