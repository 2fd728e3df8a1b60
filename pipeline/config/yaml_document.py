# SPDX-License-Identifier: Apache-2.0
"""YAML text as plain Python values with source positions.

Duplicate keys, which PyYAML ignores silently, are mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ebpf_sidecar.pipeline.errors import ConfigError, Mistake

from .yaml_scalars import SCALARS, TAG, compose

Location = tuple[str | int, ...]
"""The keys and list positions that lead to a value."""

_MAX_QUOTED = 60  # characters of the user's own value in a message
_MAX_VALUES = 100_000  # aliases of aliases grow without bound ("billion laughs"), and so do merges of merges
MAX_DEPTH = 50
"""The maximum depth of mappings, lists, and references to references: code that walks a configuration may rely on it
and needs no check of its own."""
TOO_DEEP = f"nested too deeply; write at most {MAX_DEPTH} levels"


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a source; lines and columns start at 1, 0 means that the source has no lines."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Document:
    """A value of mappings, lists and scalars, and the position of each part."""

    value: Any = None
    marks: Mapping[Location, Mark] = field(default_factory=dict)


class NotYamlError(ConfigError):
    """Text that is not YAML at all, unlike YAML with wrong content."""


def parse(text: str, source: str, *, number_keys: bool = False, fast: bool = False) -> Document:
    """The document in ``text``. Raises `ConfigError` with all mistakes, as ``source:line:column``; `NotYamlError` if
    the text may not be meant as YAML.

    ``number_keys``: whether keys may be whole numbers; in a configuration, all are text. ``fast``: for long files, see
    `compose`.
    """
    builder = _Builder(source, {"str": "text", "int": "a whole number"} if number_keys else {"str": "text"})
    try:
        node = compose(text, fast=fast)
        value = None if node is None else builder.build(node, ())
        builder.marks.setdefault((), Mark(source))
    except yaml.MarkedYAMLError as error:
        raise NotYamlError([_not_yaml(error, text, source)]) from error
    except yaml.reader.ReaderError as error:
        raise NotYamlError([_unprintable(error, text, source)]) from error
    except RecursionError as error:
        raise NotYamlError([Mistake("", TOO_DEEP, source)]) from error
    if builder.mistakes:
        raise ConfigError(builder.mistakes)
    return Document(value, builder.marks)


def _not_yaml(error: yaml.MarkedYAMLError, text: str, source: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    where = Mark(source, mark.line + 1, mark.column + 1) if mark else Mark(source)
    problem = " ".join(part for part in (error.context, error.problem) if part)
    advice = "check indentation, brackets and quotes there"
    if mark and text[: mark.index].endswith("$"):
        advice = 'write a reference in quotes, "${…}", inside brackets and braces'
    return Mistake("", f"not YAML: {problem}; {advice}", str(where))


def _unprintable(error: yaml.reader.ReaderError, text: str, source: str) -> Mistake:
    before = text[: error.position]
    where = Mark(source, before.count("\n") + 1, error.position - before.rfind("\n"))
    character = f"U+{ord(text[error.position]):04X}"
    return Mistake("", f"not YAML: the character {character} is not allowed; remove it", str(where))


class _Builder:
    """Turns PyYAML's nodes into values, collecting mistakes instead of stopping at the first."""

    def __init__(self, source: str, key_types: Mapping[str, str]) -> None:
        self.source = source
        self.key_types = key_types
        self.marks: dict[Location, Mark] = {}
        self.mistakes: list[Mistake] = []
        self._open: set[int] = set()
        self._built = 0

    def build(self, node: Node, at: Location) -> Any:
        """The value of ``node`` at the location ``at``."""
        self.marks.setdefault(at, self._mark(node))
        if id(node) in self._open:
            return self._wrong(node, at, "an alias refers to a value that contains it; write the value out")
        self._built += 1
        if self._built > _MAX_VALUES:
            raise ConfigError([Mistake("", f"more than {_MAX_VALUES} values; use fewer aliases", self.source)])
        if len(self._open) > MAX_DEPTH:
            raise NotYamlError([Mistake("", TOO_DEEP, str(self._mark(node)))])
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

    def _mapping(self, node: MappingNode, at: Location) -> dict[str | int, Any]:
        merged: dict[str | int, Any] = {}
        own: dict[str | int, Any] = {}
        for key, value in node.value:
            if key.tag == f"{TAG}merge":
                merged = {**self._merged(value, at), **merged}
            elif key.tag.removeprefix(TAG) not in self.key_types:
                wanted = " or ".join(self.key_types.values())
                self._wrong(key, at, f'the key "{_shown(key)}" is not {wanted}; write it in quotes')
            elif (name := self._scalar(key, at)) is None:
                continue
            elif name in own:
                self._wrong(key, at, f'"{name}" is written twice; keep one of them')
            else:
                self.marks[(*at, name)] = self._mark(key)
                own[name] = self.build(value, (*at, name))
        return {**merged, **own}

    def _merged(self, node: Node, at: Location) -> dict[str | int, Any]:
        """The mapping from ``<<: *anchor`` or ``<<: [*first, *second]``; the first of a list wins."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        brought: dict[str | int, Any] = {}
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
        if kind == "str":
            return self._text(node, at)
        try:
            return SCALARS[kind](node.value)
        except ValueError:
            return self._wrong(
                node, at, f'"{node.value[:_MAX_QUOTED]}" is not of type {kind}; correct the value or its tag'
            )

    def _text(self, node: Node, at: Location) -> str | None:
        """The text of a scalar; surrogate pairs in escapes, as JSON writes them, become one character."""
        text = str(node.value)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            shown = text.encode("ascii", "backslashreplace").decode()[:_MAX_QUOTED]
            self._wrong(node, at, f'"{shown}" contains half of a character (a lone surrogate); write the whole one')
            return None

    def _wrong(self, node: Node, at: Location, message: str) -> None:
        self.mistakes.append(Mistake("::".join(map(str, at)), message, str(self._mark(node))))

    def _mark(self, node: Node) -> Mark:
        return Mark(self.source, node.start_mark.line + 1, node.start_mark.column + 1)


def _shown(key: Node) -> str:
    return str(key.value) if isinstance(key, ScalarNode) else "…"
