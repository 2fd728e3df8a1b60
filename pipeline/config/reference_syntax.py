# SPDX-License-Identifier: Apache-2.0
"""The grammar of references in text: ``${name}``, ``${source:rest}``, ``${name:-default}``, and ``$$`` for one ``$``.

References may stand inside one another; the braces between ``${`` and its end must balance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .yaml_document import MAX_DEPTH, TOO_DEEP

_BRACE = re.compile(r"[{}]")
_MAX_QUOTED = 60  # characters of the user's own value in a message


class BadReferenceError(ValueError):
    """A reference that cannot be followed; the message says why."""


def split_references(text: str, *, strict: bool = True) -> Iterator[tuple[str, str]]:
    """The text in turn as ``("text", …)``, escapes resolved, and ``("reference", what stands between the braces)``."""
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
    """Where the brace closes that was opened before ``start``. Raises `BadReferenceError` if nowhere."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
        if depth > MAX_DEPTH:
            raise BadReferenceError(f'"{shortened(text[start - 2 :])}" is {TOO_DEEP}')
    raise BadReferenceError(
        f'"{shortened(text[start - 2 :])}" lacks its closing "}}"; close it, or write "$${{" for itself'
    )


def shortened(text: str, max_length: int = _MAX_QUOTED) -> str:
    """The beginning of a user's own text, as messages quote it."""
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def split_default(reference: str) -> tuple[str, str | None]:
    """Name and default of a reference to a variable; the name may itself hold references with defaults."""
    depth = 0
    for position, character in enumerate(reference):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0 and reference.startswith(":-", position):
            return reference[:position], reference[position + 2 :]
    return reference, None


def escape(text: str) -> str:
    """``text`` written so that it expands to itself."""
    return text.replace("$", "$$")
