# SPDX-License-Identifier: Apache-2.0
"""Configuration sources: files, inline text and ``--set`` overrides, merged into one document.

Mappings are merged recursively, later sources win, and lists are replaced as a whole, as in the Collector. Top-level
keys that start with ``x-`` are for anchors, as in Compose files, and are not part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.errors import ConfigError, Mistake, printable
from ebpf_sidecar.pipeline.secrets_in_text import redacted_value

from .bounded_read import UnreadableError, read_file
from .reference_syntax import shortened
from .yaml_document import MAX_DEPTH, TOO_DEEP, Document, Location, Mark, NotYamlError, parse

USER_SECTION_PREFIX = "x-"
"""The prefix of top-level sections that belong to the user."""
_BY_PATH = "::"


@dataclass(frozen=True, slots=True)
class InlineSource:
    """A configuration that is not in a file (standard input, a test)."""

    content: bytes
    name: str = "stdin"
    paths: bool = False
    """Whether keys are paths, ``exporters::debug: …``, as in the Collector's ``yaml:`` locations."""


ConfigSource = Path | InlineSource


def merged_document(
    sources: Sequence[ConfigSource], overrides: Sequence[str] = (), read: Callable[[Path], bytes] = read_file
) -> Document:
    """All sources and then all overrides (``a.b=c``), merged; ``read`` reads files.

    Raises `ConfigError` with the mistakes of all of them."""
    documents: list[Document] = []
    mistakes: list[Mistake] = []
    for origin in (*sources, *overrides):
        try:
            documents.append(_override(origin) if isinstance(origin, str) else _document(origin, read))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return _merged_documents(documents)


def source_name(source: ConfigSource) -> str:
    """The name of a source in messages."""
    name = source.name if isinstance(source, InlineSource) else str(source)
    return printable(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _document(source: ConfigSource, read: Callable[[Path], bytes]) -> Document:
    name = source_name(source)
    document = parse(source_text(source, read), name)
    if document.value is None:
        return Document({}, document.marks)
    if not isinstance(document.value, dict):
        raise ConfigError([Mistake("", 'not a mapping; start with "receivers:", as in configs/default.yaml', name)])
    return _by_path(document) if isinstance(source, InlineSource) and source.paths else document


def _by_path(document: Document) -> Document:
    """The document with each top-level ``a::b: c`` as ``a: {b: c}``."""
    parts = []
    for key, value in document.value.items():
        inner = {at[1:]: mark for at, mark in document.marks.items() if at[:1] == (key,)}
        parts.append(_nested(tuple(key.split(_BY_PATH)), Document(value, inner), document.marks[key,]))
    return _merged_documents(parts)


def _nested(path: Location, inner: Document, mark: Mark) -> Document:
    """The inner document nested below the keys of ``path``, which are at ``mark``."""
    tree: Any = inner.value
    for key in reversed(path):
        tree = {key: tree}
    marks = {path[:depth]: mark for depth in range(1, len(path) + 1)}
    return Document(tree, {**{(*path, *at): mark for at, mark in inner.marks.items()}, **marks})


def source_text(source: ConfigSource, read: Callable[[Path], bytes] = read_file) -> str:
    """The text of a source; ``read`` reads files. Raises `ConfigError`."""
    name = source_name(source)
    try:
        content = source.content if isinstance(source, InlineSource) else read(source)
        return content.decode("utf-8-sig")
    except UnreadableError as error:
        raise ConfigError([Mistake("", str(error), name)]) from error
    except UnicodeDecodeError as error:
        before = content[: error.start]
        where = Mark(name, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        message = f"not UTF-8: byte 0x{content[error.start]:02x}; save the file as UTF-8"
        raise ConfigError([Mistake("", message, str(where))]) from error


def _override(text: str) -> Document:
    """``a.b=c`` or ``a::b=c`` as a document; the value is YAML, or plain text if it is not YAML (``[::1]:80``); an
    empty value is null."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    path, equals, value = text.partition("=")
    keys = tuple(key.strip() for key in path.split(_BY_PATH if _BY_PATH in path else "."))
    if not equals or not all(keys):
        given = shortened(redacted_value(text))
        message = f'"{given}" is not a setting; write path=value, as in receivers.ebpf.collection_interval=5s'
        raise ConfigError([Mistake("", message, "--set")])
    mark = Mark(printable(f"--set {shortened(path)}"))
    if len(keys) > MAX_DEPTH:
        raise ConfigError([Mistake("", TOO_DEEP, str(mark))])
    try:
        inner = parse(value, str(mark))
    except NotYamlError:
        inner = Document(value)
    return _nested(keys, Document(inner.value, dict.fromkeys(inner.marks, mark)), mark)


def _merged_documents(documents: Iterable[Document]) -> Document:
    tree: dict[str, Any] = {}
    marks: dict[Location, Mark] = {}
    for document in documents:
        tree = _deep(tree, document.value)
        marks |= document.marks
    return Document({key: value for key, value in tree.items() if not key.startswith(USER_SECTION_PREFIX)}, marks)


def _deep(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    both = {key: _deep(earlier[key], value) for key, value in later.items() if _are_mappings(earlier.get(key), value)}
    return {**earlier, **later, **both}


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)
