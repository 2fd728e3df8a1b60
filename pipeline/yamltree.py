# SPDX-License-Identifier: Apache-2.0
"""YAML text as plain Python values that remember where they were written.

Repeated keys, which PyYAML drops silently, are mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .errors import ConfigError, Mistake
from .yamlscalars import SCALARS, TAG, Loader

Location = tuple[str | int, ...]
"""The keys and list positions that lead to a value."""

_LONGEST = 60  # characters of the user's own value in a message
_MOST_VALUES = 100_000  # aliases of aliases grow without bound ("billion laughs")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a source; lines and columns count from 1, 0 means that the source has no lines."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Document:
    """A value made of mappings, lists and scalars, and where each part of it was written."""

    value: Any = None
    marks: Mapping[Location, Mark] = field(default_factory=dict)


def parse(text: str, source: str) -> Document:
    """The document in ``text``. Raises `ConfigError` with everything wrong, as ``source:line:column``."""
    builder = _Builder(source)
    try:
        node = yaml.compose(text, Loader)
        value = None if node is None else builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_not_yaml(error, text, source)]) from error
    except yaml.reader.ReaderError as error:
        raise ConfigError([_unprintable(error, text, source)]) from error
    except RecursionError as error:
        raise ConfigError([Mistake("", "nested too deeply; write fewer levels", source)]) from error
    if builder.mistakes:
        raise ConfigError(builder.mistakes)
    return Document(value, builder.marks)


def _not_yaml(error: yaml.MarkedYAMLError, text: str, source: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    where = Mark(source, mark.line + 1, mark.column + 1) if mark else Mark(source)
    said = " ".join(part for part in (error.context, error.problem) if part)
    advice = "check indentation, brackets and quotes there"
    if mark and text[: mark.index].endswith("$"):
        advice = 'write a reference in quotes, "${…}", inside brackets and braces'
    return Mistake("", f"not YAML: {said}; {advice}", str(where))


def _unprintable(error: yaml.reader.ReaderError, text: str, source: str) -> Mistake:
    before = text[: error.position]
    where = Mark(source, before.count("\n") + 1, error.position - before.rfind("\n"))
    character = f"U+{ord(text[error.position]):04X}"
    return Mistake("", f"not YAML: the character {character} is not allowed; remove it", str(where))


class _Builder:
    """Turns PyYAML's nodes into values, noting mistakes instead of stopping at the first."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.marks: dict[Location, Mark] = {}
        self.mistakes: list[Mistake] = []
        self._open: set[int] = set()

    def build(self, node: Node, at: Location) -> Any:
        """The value of ``node``, which is found ``at`` the location."""
        self.marks.setdefault(at, self._mark(node))
        if id(node) in self._open:
            return self._wrong(node, at, "an alias refers to a value that contains it; write the value out")
        if len(self.marks) > _MOST_VALUES:
            raise ConfigError([Mistake("", f"more than {_MOST_VALUES} values; use fewer aliases", self.source)])
        self._open.add(id(node))
        try:
            return self._value(node, at)
        finally:
            self._open.remove(id(node))

    def _value(self, node: Node, at: Location) -> Any:
        if not isinstance(node, ScalarNode) and node.tag.removeprefix(TAG) not in ("map", "seq"):
            return self._wrong(node, at, f'the tag "{node.tag}" is not supported; write the value without it')
        if isinstance(node, MappingNode):
            return self._mapping(node, at)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*at, position)) for position, item in enumerate(node.value)]
        return self._scalar(node, at)

    def _mapping(self, node: MappingNode, at: Location) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == f"{TAG}merge":
                merged = {**self._merged(value, at), **merged}
            elif key.tag != f"{TAG}str":
                self._wrong(key, at, f'the key "{_shown(key)}" is not text; write it in quotes')
            elif key.value in own:
                self._wrong(key, at, f'"{key.value}" is written twice; keep one of them')
            else:
                self.marks[(*at, key.value)] = self._mark(key)
                own[key.value] = self.build(value, (*at, key.value))
        return {**merged, **own}

    def _merged(self, node: Node, at: Location) -> dict[str, Any]:
        """What ``<<: *anchor`` or ``<<: [*first, *second]`` brings; the first of a list wins."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        brought: dict[str, Any] = {}
        for source in sources:
            value = self.build(source, at)
            if not isinstance(value, dict):
                self._wrong(source, at, 'the value of "<<" is not a mapping; refer to a mapping\'s anchor')
                continue
            brought = {**value, **brought}
        return brought

    def _scalar(self, node: Node, at: Location) -> Any:
        kind = node.tag.removeprefix(TAG)
        if kind not in SCALARS:
            return self._wrong(node, at, f'the tag "{node.tag}" is not supported; write the value without it')
        try:
            return SCALARS[kind](node.value)
        except ValueError:
            return self._wrong(
                node, at, f'"{node.value[:_LONGEST]}" is not of type {kind}; correct the value or its tag'
            )

    def _wrong(self, node: Node, at: Location, message: str) -> None:
        self.mistakes.append(Mistake("::".join(map(str, at)), message, str(self._mark(node))))

    def _mark(self, node: Node) -> Mark:
        return Mark(self.source, node.start_mark.line + 1, node.start_mark.column + 1)


def _shown(key: Node) -> str:
    return str(key.value) if isinstance(key, ScalarNode) else "…"
