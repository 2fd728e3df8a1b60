# SPDX-License-Identifier: Apache-2.0
"""Checks the references between the parts of a probe's YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .model import Probe, ProbeHook


def wrong_references(probe: Probe) -> list[str]:
    """The wrong references between the parts of a probe, each with its path."""
    hooks, maps = [hook.name for hook in probe.hooks], [spec.name for spec in probe.maps]
    settings = [f"${setting.name}" for setting in probe.settings]
    found: list[str] = []
    for i, metric in enumerate(probe.metrics):
        found += _unknown(f"metrics[{i}]::map", [metric.map], maps)
        found += _unknown(f"metrics[{i}]::hooks", metric.hooks, hooks)
        for j, attribute in enumerate(metric.attributes):
            only = [attribute.only] if attribute.only else []
            found += _unknown(f"metrics[{i}]::attributes[{j}]::only", only, settings)
    for i, hook in enumerate(probe.hooks):
        moved = hook.canary.moves.partition(".")[0] if hook.canary else ""
        found += _unknown(f"hooks[{i}]::canary::moves", [moved] if moved else [], maps)
        found += _wrong_shown(f"hooks[{i}]::canary::shown_by", probe, hook)
    for i, calls in enumerate(probe.calls):
        found += _unknown(f"calls[{i}]::names", [calls.names] if isinstance(calls.names, str) else [], settings)
    found += _twice("hooks", hooks) + _twice("maps", maps) + _twice("metrics", [each.name for each in probe.metrics])
    for setting in probe.settings:
        default = setting.default if setting.type == "words" and isinstance(setting.default, tuple) else ()
        found += _unknown(f"settings::{setting.name}::default", default, setting.words)
    return [f"{probe.path.name}::{mistake}" for mistake in found]


def _wrong_shown(path: str, probe: Probe, hook: ProbeHook) -> list[str]:
    shown = hook.canary.shown_by if hook.canary else None
    if shown is None:
        return []
    metric = next((each for each in probe.metrics if each.name == shown.metric), None)
    if metric is None:
        return _unknown(f"{path}::metric", [shown.metric], [each.name for each in probe.metrics])
    if hook.name not in metric.hooks:
        return [f'{path}::metric: "{shown.metric}" does not depend on the hook "{hook.name}"; name one that does']
    return _unknown(f"{path}::where", shown.where, [each.name for each in metric.attributes])


def _unknown(path: str, words: Iterable[str], known: Sequence[str]) -> list[str]:
    return [f'{path}: unknown "{word}"{did_you_mean(word, known)}' for word in words if word not in known]


def _twice(path: str, names: Sequence[Any]) -> list[str]:
    return [f'{path}: "{name}" occurs {count} times; keep one' for name, count in Counter(names).items() if count > 1]
