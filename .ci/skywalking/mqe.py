# SPDX-License-Identifier: Apache-2.0
"""Which metrics an MQE expression reads, and by which labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .mal import Token, tokens
from .rules import Rule, Scope

_METERS = "meter_"
_OPEN, _CLOSE, _EQUALS = Token("sign", "{"), Token("sign", "}"), Token("sign", "=")


@dataclass(frozen=True)
class Read:
    """A metric in an expression, and the labels that select its values."""

    metric: str
    labels: tuple[str, ...]


def reads(expression: str) -> Iterator[Read]:
    """Each mention of a metric of a rule. Raises `MalError` where it cannot be read."""
    words = list(tokens(expression))
    for place, word in enumerate(words):
        if word.kind == "name" and word.text.startswith(_METERS):
            yield Read(word.text, tuple(_selected(words[place + 1 :])))


def made_by_rules(rules: Mapping[Scope, Sequence[Rule]]) -> Mapping[str, frozenset[str]]:
    """The labels of each metric that rules make, by its whole name."""
    return {f"{scope.prefix}_{rule.name}": frozenset(rule.labels) for scope in rules for rule in rules[scope]}


def expression_problems(expression: str, made: Mapping[str, frozenset[str]]) -> Iterable[str]:
    """Metrics that no rule makes, and labels that they do not have."""
    for read in reads(expression):
        if read.metric not in made:
            yield f'"{expression}": no rule makes "{read.metric}"{did_you_mean(read.metric, made)}'
            continue
        for label in read.labels:
            if label not in made[read.metric]:
                yield f'"{expression}": "{read.metric}" has no label "{label}"'


def _selected(words: Sequence[Token]) -> Iterator[str]:
    if words[:1] == [_OPEN]:
        selection = words[1 : words.index(_CLOSE)]
        yield from (word.text for word, sign in pairwise(selection) if sign == _EQUALS)
