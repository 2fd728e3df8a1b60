# SPDX-License-Identifier: Apache-2.0
"""The syntax of references: ``${name}``, ``${scheme:rest}``, ``${name:-default}``, and ``$$`` for one ``$``.

References may be nested; the braces between ``${`` and its end must balance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .yaml_document import MAX_DEPTH, TOO_DEEP

_BRACE = re.compile(r"[{}]")
_MAX_QUOTED = 60  # characters of the user's own value in a message


class BadReferenceError(ValueError):
    """A reference that cannot be resolved; the message says why."""


def split_references(text: str, *, strict: bool = True) -> Iterator[tuple[str, str]]:
    """The parts of the text: ``("text", …)`` with escapes resolved, and ``("reference", <between the braces>)``."""
    position, literal = 0, ""
    while (dollar := text.find("$", position)) >= 0:
        literal += text[position:dollar]
        following = text[dollar + 1 : dollar + 2]
        if following != "{":  # "$$" is one "$", and a "$" alone stays
            literal += "$"
            position = dollar + (2 if following == "$" else 1)
            continue
        try:
            end = _closing(text, dollar + 2)
        except BadReferenceError:
            if strict:
                raise
            break
        if literal:
            yield "text", literal
        yield "reference", text[dollar + 2 : end]
        position, literal = end + 1, ""
    if literal or position < len(text):
        yield "text", literal + text[position:]


def _closing(text: str, start: int) -> int:
    """The position of the brace that closes the one before ``start``. Raises `BadReferenceError` if there is none."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
        if depth > MAX_DEPTH:
            raise BadReferenceError(f'"{shortened(text[start - 2 :])}" is {TOO_DEEP}')
    raise BadReferenceError(
        f'"{shortened(text[start - 2 :])}" has no closing "}}"; close it, or write "$${{" for a literal "${{"'
    )


def shortened(text: str, max_length: int = _MAX_QUOTED) -> str:
    """The start of a user's text, as quoted in messages."""
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def split_default(reference: str) -> tuple[str, str | None]:
    """Name and default of a variable reference; the name may itself contain references with defaults."""
    depth = 0
    for position, character in enumerate(reference):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0 and reference.startswith(":-", position):
            return reference[:position], reference[position + 2 :]
    return reference, None


def escape(text: str) -> str:
    """``text`` escaped so that it expands to itself."""
    return text.replace("$", "$$")
