# SPDX-License-Identifier: Apache-2.0
"""The words of an expression in OAP's MAL or MQE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>'[^']*'|"[^"]*")
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign>->|==|!=|>=|<=|&&|\|\||=~|\*\*|[-+*/.,:;?(){}\[\]=<>!])""",
    re.VERBOSE,
)


class MalError(ValueError):
    """What cannot be read, and where."""


@dataclass(frozen=True)
class Token:
    """``kind``: string, number, name or sign. ``text``: of a string, what is in its quotes."""

    kind: str
    text: str


def tokens(text: str) -> Iterator[Token]:
    """The words, without the space between them. Raises `MalError`."""
    place = 0
    while place < len(text):
        found = _WORD.match(text, place)
        if found is None:
            raise MalError(f'"{text[place:][:20]}" cannot be read')
        place = found.end()
        kind = str(found.lastgroup)
        if kind != "space":
            yield Token(kind, found[0][1:-1] if kind == "string" else found[0])
