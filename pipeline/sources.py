# SPDX-License-Identifier: Apache-2.0
"""Where a configuration comes from: files, given texts and ``--set`` overrides, merged into one document.

Mappings are merged in depth, the later source wins, and lists are replaced as a whole, as in the Collector.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError, Mistake
from .yamltree import Document, Location, Mark, parse


@dataclass(frozen=True, slots=True)
class Inline:
    """A configuration that is in no file (standard input, a test)."""

    content: bytes
    name: str = "stdin"


Source = Path | Inline


def merged(sources: Sequence[Source], overrides: Sequence[str] = ()) -> Document:
    """All sources and then all overrides (``a.b=c``), merged. Raises `ConfigError` with the mistakes of all of them."""
    documents: list[Document] = []
    mistakes: list[Mistake] = []
    for origin in (*sources, *overrides):
        try:
            documents.append(_override(origin) if isinstance(origin, str) else _document(origin))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return _merged(documents)


def name_of(source: Source) -> str:
    """How messages call a source."""
    return source.name if isinstance(source, Inline) else str(source)


def _document(source: Source) -> Document:
    name = name_of(source)
    document = parse(_text(source, name), name)
    if document.value is None:
        return Document({}, document.marks)
    if not isinstance(document.value, dict):
        raise ConfigError([Mistake("", 'not a mapping; begin with "receivers:", as in configs/default.yaml', name)])
    return document


def _text(source: Source, name: str) -> str:
    try:
        content = source.content if isinstance(source, Inline) else source.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigError([Mistake("", f"cannot be read: {reason}; check the path and its rights", name)]) from error
    except UnicodeDecodeError as error:
        before = content[: error.start]
        where = Mark(name, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        message = f"not UTF-8: byte 0x{content[error.start]:02x}; save the file as UTF-8"
        raise ConfigError([Mistake("", message, str(where))]) from error


def _override(text: str) -> Document:
    """``a.b=c`` or ``a::b=c`` as a document; the value is YAML, and an empty one is null."""
    where = f"--set {text.partition('=')[0]}"
    path, equals, value = text.partition("=")
    keys = path.split("::") if "::" in path else path.split(".")
    if not equals or not all(key.strip() for key in keys):
        message = f'"{text}" is not a setting; write path=value, as in receivers.ebpf.collection_interval=5s'
        raise ConfigError([Mistake("", message, "--set")])
    location: Location = tuple(key.strip() for key in keys)
    inner = parse(value, where)
    tree: Any = inner.value
    for key in reversed(location):
        tree = {key: tree}
    mark = Mark(where)
    marks = {location[:depth]: mark for depth in range(1, len(location) + 1)}
    return Document(tree, {**marks, **{(*location, *at): mark for at in inner.marks}})


def _merged(documents: Iterable[Document]) -> Document:
    tree: dict[str, Any] = {}
    marks: dict[Location, Mark] = {}
    for document in documents:
        tree = _deep(tree, document.value)
        marks |= document.marks
    return Document(tree, marks)


def _deep(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    both = {key: _deep(earlier[key], value) for key, value in later.items() if _are_mappings(earlier.get(key), value)}
    return {**earlier, **later, **both}


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)
