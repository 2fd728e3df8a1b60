# SPDX-License-Identifier: Apache-2.0
"""Reads a probe's YAML into a `Probe`, and reports every mistake with its path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import yaml

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .model import (
    ATTACH_KINDS,
    CALL_FIELDS,
    DECODERS,
    ELSE,
    KINDS,
    NO_ACTION,
    ON_FUNCTIONS,
    PERF_EVENTS,
    SETTING_TYPES,
    Action,
    AttachKind,
    AttachPoint,
    Attribute,
    Calls,
    CanarySpec,
    Distinct,
    MapSpec,
    Metric,
    Probe,
    ProbeHook,
    Setting,
    ShownBy,
    Slots,
    Spread,
    Sum,
)
from .references import wrong_references
from .yaml_reader import Node

_NEEDED = ("summary", "reading", "cost", "stability", "kernel", "settings", "hooks", "maps", "metrics")
_KEYS = (*_NEEDED, "macros", "calls", "btf", "programs", "drops")
_STABILITY = ("development", "alpha", "beta", "stable", "deprecated")
_EVENT = re.compile(r"\w+:\w+")
_FUNCTION = re.compile(r"\w+")
_MACRO = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_HIGHEST_EXPONENT = 63
_RELEASE = re.compile(r"\d+\.\d+")


def find_probes(folders: Iterable[Path]) -> Mapping[str, Path]:
    """The YAML file of every probe pair in ``folders`` by probe name; the first one found wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if path.with_suffix(".c").exists():
                found.setdefault(path.stem, path)
    return found


def read_probe(path: Path) -> Probe:
    """The probe that ``path`` describes. Raises `ProbeError` listing all mistakes, one per line."""
    try:
        return _described(path, path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ProbeError(f"{path}: cannot be read: {error}") from error


@lru_cache(maxsize=32)  # called several times at startup: to check settings, for the request, for the metrics
def _described(path: Path, text: str) -> Probe:
    mistakes: list[str] = []
    probe = _probe(path, Node(yaml.safe_load(text), path.name, mistakes))
    if not mistakes:
        mistakes.extend(wrong_references(probe))
    if mistakes:
        raise ProbeError("\n".join(mistakes))
    return probe


def _probe(path: Path, top: Node) -> Probe:
    top = top.only(_KEYS, _NEEDED)
    return Probe(
        name=path.stem,
        path=path,
        summary=top.text("summary"),
        reading=top.text("reading"),
        cost=top.text("cost"),
        stability=top.choice("stability", _STABILITY, "development"),
        kernel=top.text("kernel"),
        settings=_settings(top.child("settings", {})),
        hooks=top.each("hooks", _hook),
        maps=top.each("maps", _map),
        metrics=top.each("metrics", _metric),
        calls=top.each("calls", _calls),
        programs=top.texts("programs"),
        btf=top.texts("btf"),
        drops=top.texts("drops"),
        macros=_macros(top.child("macros", {})),
    )


def _settings(node: Node) -> tuple[Setting, ...]:
    return tuple(_setting(name, node.child(name)) for name in node.names())


def _setting(name: str, node: Node) -> Setting:
    node = node.only(("type", "default", "description", "words"), ("type", "default", "description"))
    kind = node.choice("type", SETTING_TYPES, "integer")
    default = node.number("default") if kind == "integer" else node.texts("default")
    return Setting(name, kind, default, node.text("description"), node.texts("words"))


def _macros(node: Node) -> Mapping[str, int]:
    for name in node.names():
        if not _MACRO.fullmatch(name):
            node.wrong(f'"{name}" is not a valid macro name; use letters, digits and underscores')
    return {name: node.number(name) for name in node.names()}


def _calls(node: Node) -> Calls:
    node = node.only(("names", "set"), ("names", "set"))
    names = node.value.get("names", [])
    chosen = names if isinstance(names, str) else node.texts("names")
    fields = node.child("set", {}).only(CALL_FIELDS)
    return Calls(chosen, {name: fields.number(name) for name in fields.value})


def _hook(node: Node) -> ProbeHook:
    node = node.only(("name", "reason", "canary", "alternatives"), ("name", "alternatives"))
    canary = _canary(node.child("canary")) if node.has("canary") else None
    return ProbeHook(node.text("name"), node.each("alternatives", _attach_point), node.text("reason"), canary)


def _canary(node: Node) -> CanarySpec:
    node = node.only(("action", "moves", "reason", "shown_by"), ("action",))
    action = node.choice("action", (*map(str, Action), NO_ACTION), NO_ACTION)
    if action == NO_ACTION and not node.text("reason"):
        node.wrong('"reason" is missing; add why nothing may trigger the hook')
    if action != NO_ACTION and node.has("shown_by"):
        node.child("shown_by").wrong("the action shows whether the hook fires; remove one of them")
    shown = _shown_by(node.child("shown_by")) if node.has("shown_by") else None
    return CanarySpec(action, node.text("moves"), node.text("reason"), shown)


def _shown_by(node: Node) -> ShownBy:
    node = node.only(("metric", "where"), ("metric",))
    where = node.child("where", {})
    return ShownBy(node.text("metric"), {name: where.text(name) for name in where.names()})


def _attach_point(node: Node) -> AttachPoint:
    keys = ("program", "since", "until", "commit", "btf", "arguments")
    node = node.only((*ATTACH_KINDS, *keys), ("program",))
    attach = next((kind for kind in ATTACH_KINDS if node.has(kind)), None)
    if attach is None:
        *others, last = (f'"{kind}"' for kind in ATTACH_KINDS)
        node.wrong(f"one of {', '.join(others)} and {last} is missing; add what to hook")
        attach = ATTACH_KINDS[0]
    event, program = node.text(attach), node.text("program")
    wrong = _wrong_event(attach, event)
    if wrong:
        node.child(attach).wrong(f'"{event}" {wrong}')
    if node.has("until") and not _RELEASE.fullmatch(node.text("until")):
        node.child("until").wrong(f'"{node.text("until")}" must be a kernel release, as in "7.0"')
    versions = (node.text("since"), node.text("until"), node.text("commit"))
    return AttachPoint(attach, event, program, *versions, node.texts("btf"), node.texts("arguments"))


def _wrong_event(attach: AttachKind, event: str) -> str:
    if attach in ON_FUNCTIONS:
        return "" if _FUNCTION.fullmatch(event) else "must be the name of a function"
    if attach == "perf_event":
        return "" if event in PERF_EVENTS else f"is unknown{did_you_mean(event, PERF_EVENTS)}"
    return "" if _EVENT.fullmatch(event) else "must be written category:event"


def _map(node: Node) -> MapSpec:
    keys = ("name", "published", "entries", "reason", "key", "value", "near", "array")
    node = node.only(keys, ("name", "entries", "reason"))
    name, size = node.text("name"), (node.number("key"), node.number("value"), node.number("near"))
    known = (name, node.text("published", name), node.number("entries"), node.text("reason"))
    return MapSpec(*known, *size, array=node.flag("array"))


def _metric(node: Node) -> Metric:
    needed = ("name", "kind", "unit", "description", "reading", "map", "hooks", "value")
    node = node.only((*needed, "attributes"), needed)
    if node.value.get("hooks") == []:
        node.child("hooks").wrong("must name the hooks that it depends on, or it would be 0 where none is attached")
    return Metric(
        name=node.text("name"),
        kind=node.choice("kind", KINDS, KINDS[0]),
        unit=node.text("unit"),
        description=node.text("description"),
        reading=node.text("reading"),
        map=node.text("map"),
        hooks=node.texts("hooks"),
        value=_value(node.child("value", {})),
        attributes=node.each("attributes", _attribute),
    )


def _value(node: Node) -> Sum | Spread | Slots | Distinct:
    node = node.only(("sum", "minus", "spread", "histogram", "distinct"))
    if node.has("spread"):
        inner = node.child("spread").only(("field", "attribute", "values"), ("field", "attribute", "values"))
        return Spread(inner.text("field"), inner.text("attribute"), inner.texts("values"))
    if node.has("histogram"):
        return _slots(node.child("histogram"))
    if node.has("distinct"):
        return Distinct(node.text("distinct"))
    if not node.has("sum"):
        node.wrong('one of "sum", "spread", "histogram" and "distinct" is missing; add it')
    return Sum(node.texts("sum"), node.texts("minus"))


def _slots(node: Node) -> Slots:
    keys = ("slots", "sum", "lowest_exponent", "scale")
    node = node.only((*keys, "default_exponents"), keys)
    lowest, shown = node.number("lowest_exponent"), node.numbers("default_exponents")
    if lowest > _HIGHEST_EXPONENT:
        node.child("lowest_exponent").wrong(f'"{lowest}" must be at most {_HIGHEST_EXPONENT}: values have 64 bits')
        lowest = 0
    if list(shown) != sorted(set(shown)) or any(not lowest <= each <= _HIGHEST_EXPONENT for each in shown):
        node.child("default_exponents").wrong(f"must ascend, from {lowest} or above to at most {_HIGHEST_EXPONENT}")
        shown = ()
    return Slots(node.text("slots"), node.text("sum"), lowest, node.decimal("scale", 1), shown)


def _attribute(node: Node) -> Attribute:
    needed = ("name", "field", "decode")
    node = node.only((*needed, "only", "btf"), needed)
    return Attribute(node.text("name"), node.text("field"), _decode(node), node.text("only"), node.texts("btf"))


def _decode(node: Node) -> str | Mapping[int | str, str]:
    table = node.value.get("decode")
    if not isinstance(table, dict):
        return node.choice("decode", DECODERS, DECODERS[0])
    for key in table:
        if not isinstance(key, int) and key != ELSE:
            node.child("decode").wrong(f'"{key}" must be a whole number or "{ELSE}"')
    return {key: str(word) for key, word in table.items()}
