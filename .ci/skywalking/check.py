# SPDX-License-Identifier: Apache-2.0
"""The static check of rule files: what OAP would accept at its start, and then count wrong, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from ebpf_sidecar.exporters.skywalking.identity import JOB
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.suggestions import did_you_mean
from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue

from .check_entity import Entity, entity_of, entity_problems
from .check_expression import expression_problems
from .mal import MalError
from .mal_tree import Closure, parse
from .rule_file import Problem, RuleFile, RuleFileError, Written, read
from .sent import Sent, sent
from .versions import layers

LONGEST = 63
"""Characters of a metric's name: what PostgreSQL allows for a name of its own."""
_KEYS = ("filter", "expPrefix", "expSuffix", "metricPrefix", "metricsRules", "layerDefinitions", "initExp")
_RULE_KEYS = ("name", "exp")
_METRIC = re.compile(r"[a-z][a-z0-9_]*")
Found = Iterator[tuple[str, str]]
"""What is wrong, and the remedy."""


@cache
def all_sent() -> Mapping[str, Sent]:
    """Every metric that installed components send."""
    return sent(catalogue(Plugins()))


def check_rules(text: str, version: str, metrics: Mapping[str, Sent] | None = None) -> list[Problem]:
    """What is wrong with a rule file for a release of OAP, in the order of the lines; nothing if it is right.

    ``metrics``: what may be named, by default what installed components send. Raises `ValueError` for an unknown
    version.
    """
    known = layers(version)
    try:
        file = read(text)
    except RuleFileError as error:
        return [error.problem]
    found = [*_file_problems(file), *_rules_problems(file, known | file.defined, metrics or all_sent(), version)]
    return sorted(found, key=lambda problem: problem.line)


def _file_problems(file: RuleFile) -> Iterator[Problem]:
    for key, value in file.keys.items():
        if key not in _KEYS:
            yield Problem(value.line, f'"{key}" is no key of a rule file', did_you_mean(key, _KEYS)[2:] or "remove it")
    yield from (Problem(1, f'"{key}" is missing', "add it") for key in ("metricPrefix", "metricsRules")
                if key not in file.keys)  # fmt: skip
    filter_ = file.value("filter")
    yield from (Problem(filter_.line, *found) for found in _filter_problems(filter_))
    yield from _name_problems(file)


def _filter_problems(written: Written) -> Found:
    if not written.text:
        return
    try:
        tree = parse(written.text)
    except MalError as error:
        yield f"filter: {error}", f"write {{ tags -> tags.job_name == '{JOB}' }}"
        return
    words = tree.tokens if isinstance(tree, Closure) else ()
    jobs = [word.text for word in words if word.kind == "string"]
    if any(word.text == "job_name" for word in words) and JOB not in jobs:
        yield f'filter: no point of ours has the job_name "{", ".join(jobs)}"', f'write "{JOB}"'


def _name_problems(file: RuleFile) -> Iterator[Problem]:
    prefix, seen = file.value("metricPrefix").text, set[str]()
    for rule in file.rules:
        missing = [key for key in _RULE_KEYS if key not in rule]
        line = min((each.line for each in rule.values()), default=1)
        yield from (Problem(line, f'a rule without "{key}"', "add it") for key in missing)
        if "name" in rule:
            name = rule["name"]
            yield from (
                Problem(name.line, *found) for found in _metric_problems(f"{prefix}_{name.text}", name.text, seen)
            )
            seen.add(name.text)


def _metric_problems(whole: str, name: str, seen: set[str]) -> Found:
    if name in seen:
        yield f'"{name}" is the name of another rule, too', "rename one: the values of both would be one metric"
    if not _METRIC.fullmatch(name):
        yield f'"{name}" cannot be named in a query', "use small letters, digits and _"
    if len(whole) > LONGEST:
        yield f'"{whole}" has {len(whole)} characters', f"use at most {LONGEST}"


def _rules_problems(
    file: RuleFile, known: frozenset[str], metrics: Mapping[str, Sent], version: str
) -> Iterator[Problem]:
    suffix, prefix = file.value("expSuffix"), file.value("expPrefix")
    try:
        common = entity_of(suffix.text, prefix.text)
    except MalError as error:
        yield Problem(suffix.line or prefix.line, f"expSuffix or expPrefix: {error}", "correct it")
        return
    yield from (Problem(suffix.line, *found) for found in entity_problems(common, known, version))
    for rule in file.rules:
        if "exp" in rule:
            own = rule["exp"]
            yield from (Problem(own.line, *found) for found in _rule_problems(own, common, known, metrics, version))


def _rule_problems(
    written: Written, common: Entity, known: frozenset[str], metrics: Mapping[str, Sent], version: str
) -> Found:
    try:
        tree = parse(written.text)
    except MalError as error:
        yield f'"{written.text}": {error}', "write plain calls, lists, numbers and + - *, which all releases read"
        return
    own = entity_of(written.text, "")
    yield from entity_problems(own, known, version)
    yield from expression_problems(tree, common + own, metrics)
