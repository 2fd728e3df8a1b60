# SPDX-License-Identifier: Apache-2.0
"""Checks the references between the parts of a probe's YAML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from ebpf_sidecar.pipeline.config.validation import Marks, mistake
from ebpf_sidecar.pipeline.config.yaml_document import Location
from ebpf_sidecar.pipeline.errors import Mistake
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .model import Metric, Probe, ProbeHook

Wrong = Iterator[tuple[Location, str]]


def wrong_references(probe: Probe, marks: Marks) -> Iterable[Mistake]:
    """The wrong references between the parts of a probe."""
    return (mistake(at, message, marks) for at, message in _wrong(probe))


def _wrong(probe: Probe) -> Wrong:
    hooks, maps = [hook.name for hook in probe.hooks], [spec.name for spec in probe.maps]
    settings = [f"${setting.name}" for setting in probe.settings]
    metrics = [metric.name for metric in probe.metrics]
    for i, metric in enumerate(probe.metrics):
        yield from _wrong_metric(("metrics", i), metric, hooks, maps, settings)
    for i, hook in enumerate(probe.hooks):
        if hook.canary and hook.canary.moves:
            yield from _unknown(("hooks", i, "canary", "moves"), hook.canary.moves.partition(".")[0], maps)
        yield from _wrong_shown(("hooks", i, "canary", "shown_by"), probe, hook)
    for i, calls in enumerate(probe.calls):
        if isinstance(calls.names, str):
            yield from _unknown(("calls", i, "names"), calls.names, settings)
    for section, names in (("hooks", hooks), ("maps", maps), ("metrics", metrics)):
        yield from _twice(section, names)
    for setting in probe.settings:
        words = setting.default if setting.type == "words" and isinstance(setting.default, tuple) else ()
        yield from _each_unknown(("settings", setting.name, "default"), words, setting.words)


def _wrong_metric(
    at: Location, metric: Metric, hooks: Sequence[str], maps: Sequence[str], settings: Sequence[str]
) -> Wrong:
    yield from _unknown((*at, "map"), metric.map, maps)
    yield from _each_unknown((*at, "hooks"), metric.hooks, hooks)
    for j, attribute in enumerate(metric.attributes):
        if attribute.only:
            yield from _unknown((*at, "attributes", j, "only"), attribute.only, settings)


def _wrong_shown(at: Location, probe: Probe, hook: ProbeHook) -> Wrong:
    shown = hook.canary.shown_by if hook.canary else None
    if shown is None:
        return
    metric = next((each for each in probe.metrics if each.name == shown.metric), None)
    if metric is None:
        yield from _unknown((*at, "metric"), shown.metric, [each.name for each in probe.metrics])
    elif hook.name not in metric.hooks:
        yield (*at, "metric"), f'"{shown.metric}" does not depend on the hook "{hook.name}"; name one that does'
    else:
        known = [each.name for each in metric.attributes]
        for name in shown.where:
            yield from _unknown((*at, "where", name), name, known)


def _unknown(at: Location, word: str, known: Collection[str]) -> Wrong:
    if word not in known:
        yield at, f'unknown "{word}"{did_you_mean(word, known) or "; remove it"}'


def _each_unknown(at: Location, words: Sequence[str], known: Collection[str]) -> Wrong:
    for i, word in enumerate(words):
        yield from _unknown((*at, i), word, known)


def _twice(section: str, names: Sequence[str]) -> Wrong:
    for i, name in enumerate(names):
        if name in names[:i]:
            yield (section, i, "name"), f'"{name}" is already the name of another; choose another name'
