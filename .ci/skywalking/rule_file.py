# SPDX-License-Identifier: Apache-2.0
"""A rule file as it is written, with the line of each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

_COLON = "mapping values are not allowed here"
_QUOTE = "quote a value that contains ': ', or write it as a block (|-)"


@dataclass(frozen=True)
class Problem:
    """What is wrong in a line, and what to do about it."""

    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.line}: {self.what}; {self.remedy}"


class RuleFileError(Exception):
    """The file is not what OAP could load at all."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class Written:
    """A value and its line."""

    text: str
    line: int


_NOTHING = Written("", 1)


@dataclass(frozen=True)
class RuleFile:
    """``keys``: those of the file itself. ``rules``: the keys of each rule. ``defined``: layers that the file adds."""

    keys: Mapping[str, Written]
    rules: tuple[Mapping[str, Written], ...]
    defined: frozenset[str]

    def value(self, key: str) -> Written:
        """The value of a key; empty where it is missing."""
        return self.keys.get(key, _NOTHING)


def read(text: str) -> RuleFile:
    """Read a file. Raises `RuleFileError`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise RuleFileError(_unreadable(error)) from error
    if not isinstance(root, yaml.MappingNode):
        raise RuleFileError(Problem(1, "this is no mapping", "write metricPrefix, expSuffix and metricsRules"))
    nodes = dict(_pairs(root))
    return RuleFile(
        {key: _written(node) for key, node in nodes.items()},
        tuple(dict(_texts(rule)) for rule in _items(nodes.get("metricsRules"))),
        frozenset(
            layer["name"].text for each in _items(nodes.get("layerDefinitions")) for layer in [dict(_texts(each))]
        ),
    )


def _unreadable(error: yaml.MarkedYAMLError) -> Problem:
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    remedy = _QUOTE if error.problem == _COLON else "correct it: OAP does not start with a file that it cannot read"
    return Problem(line, f"this is no YAML: {error.problem}", remedy)


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _texts(node: yaml.Node) -> Iterator[tuple[str, Written]]:
    for key, value in _pairs(node):
        yield key, _written(value)


def _pairs(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((str(key.value), value) for key, value in node.value)


def _written(node: yaml.Node) -> Written:
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
    return Written(text, node.start_mark.line + 1)
