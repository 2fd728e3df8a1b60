# SPDX-License-Identifier: Apache-2.0
"""What the user may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_FEW = 8


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The repair to write after a semicolon: the closest of ``choices``, all of them when they are few, or nothing."""
    known = sorted(set(choices))
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{close[0]}"?'
    if known and len(known) <= _FEW:
        return f"; choose {any_of(known)}"
    return ""


def any_of(words: Iterable[str]) -> str:
    """The words in quotes, as a choice: ``"a", "b" or "c"``."""
    quoted = [f'"{word}"' for word in words]
    return " or ".join(part for part in (", ".join(quoted[:-1]), quoted[-1] if quoted else "") if part)
