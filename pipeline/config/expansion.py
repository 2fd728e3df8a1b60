# SPDX-License-Identifier: Apache-2.0
"""``${env:NAME}``, ``${env:NAME:-default}`` and ``${file:path}`` in a configuration's values, as in the Collector.

A value that consists of one reference gets the type that YAML gives to the text (``8080`` is a number); inside other
text, the referenced text is inserted unchanged. ``$$`` stands for one ``$``. Inserted text is expanded again.

Differences, all on the safe side: an unset variable without a default is a mistake, which the Collector only logs (its
issue 5615); a variable that is set but empty gets the default, as in the shell and in OpenTelemetry's data model
(https://opentelemetry.io/docs/specs/otel/configuration/data-model/); a file's last line break is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.errors import ConfigError, Mistake
from ebpf_sidecar.pipeline.secrets_in_text import is_secret_name
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .bounded_read import UnreadableError, read_file
from .reference_syntax import BadReferenceError, shortened, split_default, split_references
from .yaml_document import MAX_DEPTH, TOO_DEEP, Document, Location, Mark, parse

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?!-)")
_MAX_REFERENCES = 10_000  # references in one value
_MAX_PATH = 4096
_NO_SECRETS = ("", "true", "false", "null", "~")
_MAX_CHARACTERS = 1_000_000  # characters: variables that double each other grow without bound


@dataclass(frozen=True, slots=True)
class Expanded:
    """A value from a reference, and the original text, for settings that expect text."""

    value: Any
    original: str


def read_text(path: str, read: Callable[[Path], bytes] = read_file) -> str:
    """The text of a referenced file without its last line break. Raises `UnreadableError` or UnicodeDecodeError."""
    return read(Path(path)).decode("utf-8-sig").removesuffix("\n").removesuffix("\r")


def expand(
    document: Document,
    environ: Mapping[str, str],
    read: Callable[[str], str] = read_text,
    note_secret: Callable[[str], None] = lambda _text: None,
) -> tuple[Any, list[Mistake]]:
    """The document's value with every reference resolved (`Expanded` if one was the whole value and is not text), and
    all mistakes in references; unresolved ones become null.

    ``note_secret`` is called with each text from a variable or file whose name suggests a secret.
    """
    expander = _Expander(document.marks, environ, read, note_secret)
    return expander.tree(document.value, (), ()), expander.mistakes


def unwrapped_tree(tree: Any) -> Any:
    """``tree`` with each `Expanded` replaced by its value."""
    if isinstance(tree, Expanded):
        return unwrapped_tree(tree.value)
    if isinstance(tree, dict):
        return {key: unwrapped_tree(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [unwrapped_tree(value) for value in tree]
    return tree


def has_reference(tree: Any) -> bool:
    """Whether an unexpanded tree contains references."""
    if isinstance(tree, str):
        return any(kind == "reference" for kind, _ in split_references(tree, strict=False))
    if isinstance(tree, dict):
        return any(has_reference(value) for value in tree.values())
    return isinstance(tree, list) and any(has_reference(value) for value in tree)


class _Expander:
    def __init__(
        self,
        marks: Mapping[Location, Mark],
        environ: Mapping[str, str],
        read: Callable[[str], str],
        note_secret: Callable[[str], None],
    ) -> None:
        self._marks = marks
        self._environ = environ
        self._read = read
        self._note_secret = note_secret
        self._followed = 0
        self.mistakes: list[Mistake] = []

    def tree(self, tree: Any, at: Location, inside: tuple[str, ...]) -> Any:
        """``tree`` expanded; ``inside`` lists the references being resolved, to detect cycles."""
        if isinstance(tree, dict):
            return {key: self.tree(value, (*at, key), inside) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self.tree(value, (*at, position), inside) for position, value in enumerate(tree)]
        if not isinstance(tree, str) or "$" not in tree:
            return tree
        self._followed = self._followed if inside else 0
        try:
            if len(at) > MAX_DEPTH:  # variables may nest each other
                raise BadReferenceError(TOO_DEEP)
            return self._text(tree, at, inside)
        except BadReferenceError as error:
            self.mistakes.append(Mistake("::".join(map(str, at)), str(error), str(self._marks.get(at, ""))))
            return None

    def _text(self, text: str, at: Location, inside: tuple[str, ...]) -> Any:
        parts = list(split_references(text))
        if [kind for kind, _ in parts] == ["reference"]:
            return self._whole(parts[0][1], at, inside)
        return self._joined(parts, inside)

    def _whole(self, reference: str, at: Location, inside: tuple[str, ...]) -> Any:
        """The value of a reference that stands alone, typed as YAML."""
        within = _deeper(inside, reference)
        original = self._follow(reference, within)
        if not original and split_default(reference)[1] is not None:
            return ""  # an empty default is empty text, not null
        value = _typed(original, reference)
        if isinstance(value, str):
            return self._text(original, at, within)
        return Expanded(self.tree(value, at, within), self._joined_or_raw(original, within))

    def _joined_or_raw(self, original: str, inside: tuple[str, ...]) -> str:
        """The text for settings that expect text. References in a structure were already resolved in its parts, where
        mistakes are reported, and comments may contain text that only looks like a reference."""
        try:
            return self._joined(list(split_references(original)), inside)
        except BadReferenceError:
            return original

    def _joined(self, parts: list[tuple[str, str]], inside: tuple[str, ...]) -> str:
        text = "".join(self._inner(piece, inside) if kind == "reference" else piece for kind, piece in parts)
        if len(text) > _MAX_CHARACTERS:
            raise BadReferenceError(
                f"expands to more than {_MAX_CHARACTERS} characters; check for references to references"
            )
        return text

    def _inner(self, reference: str, inside: tuple[str, ...]) -> str:
        """The text of a reference inside other text."""
        within = _deeper(inside, reference)
        return self._joined(list(split_references(self._follow(reference, within))), within)

    def _follow(self, reference: str, inside: tuple[str, ...]) -> str:
        self._followed += 1
        if self._followed > _MAX_REFERENCES:
            raise BadReferenceError(f"more than {_MAX_REFERENCES} references; check for references to references")
        scheme = _SCHEME.match(reference)
        if scheme is None or scheme[1] == "env":
            return self._variable(reference.removeprefix("env:"), inside)
        if scheme[1] == "file":
            return self._file(self._joined(list(split_references(reference.removeprefix("file:"))), inside), inside)
        hint = did_you_mean(scheme[1], ["env", "file"])
        raise BadReferenceError(f'"${{{shortened(reference)}}}": unknown scheme "{scheme[1]}"{hint}')

    def _variable(self, reference: str, inside: tuple[str, ...]) -> str:
        name, default = split_default(reference)
        if "$" in name:
            name = self._joined(list(split_references(name)), inside)
        if not _NAME.fullmatch(name):
            raise BadReferenceError(f'"{shortened(name)}" is not a variable name; write "$${{" for a literal "${{"')
        text = self._environ.get(name)
        if text or (text is not None and default is None):
            return self._noted(_utf8(text, name), inside, secret=is_secret_name(name))
        if default is not None:
            return self._noted(default, inside, secret=is_secret_name(name))
        raise BadReferenceError(
            f'environment variable "{name}" is not set; set it or give a default, "${{env:{name}:-…}}"'
        )

    def _noted(self, text: str, inside: tuple[str, ...], *, secret: bool) -> str:
        """``text``, noted as a secret both as it is and with the references in it resolved."""
        if secret and text.lower() not in _NO_SECRETS:
            self._note_secret(text)
            if "$" in text:
                self._note_secret(self._joined_or_raw(text, inside))
        return text

    def _file(self, path: str, inside: tuple[str, ...]) -> str:
        try:
            return self._noted(self._read(path), inside, secret=_holds_secrets(path))
        except UnreadableError as error:
            raise BadReferenceError(f'"{shortened(path, _MAX_PATH)}" {error}') from error
        except UnicodeDecodeError as error:
            raise BadReferenceError(f'"{shortened(path, _MAX_PATH)}" is not UTF-8; save it as UTF-8') from error


def _holds_secrets(path: str) -> bool:
    """Whether the name of a file or of a parent folder suggests a secret, as in ``/run/secrets/db``."""
    return any(is_secret_name(Path(part).stem) for part in Path(path).parts)


def _deeper(inside: tuple[str, ...], reference: str) -> tuple[str, ...]:
    if reference in inside:
        raise BadReferenceError(f'"${{{shortened(reference)}}}" refers to itself; break the cycle')
    if len(inside) >= MAX_DEPTH:
        raise BadReferenceError(f"more than {MAX_DEPTH} references in a chain; write the last one here")
    return (*inside, reference)


def _utf8(text: str, name: str) -> str:
    """The text of a variable; it may contain any bytes, which Python decodes as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadReferenceError(f'environment variable "{name}" is not UTF-8; set it to text in UTF-8') from error
    return text


def _typed(text: str, reference: str) -> Any:
    """``text`` parsed as YAML; invalid YAML is plain text, as in the Collector."""
    try:
        return parse(text, f"${{{reference}}}").value
    except ConfigError:
        return text
