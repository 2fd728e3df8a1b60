# SPDX-License-Identifier: Apache-2.0
"""Suggestions for misspelt names ("did you mean")."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_FEW = 12  # more choices than this are not listed
_CLOSE = 0.6  # as difflib's own default
_PART = 0.9  # "intervl" means "collection_interval" rather than "filter", but "interval" before both


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The advice after a semicolon: the closest of ``choices``, all of them if they are few, or nothing."""
    known = sorted(set(choices))
    closest = max(known, key=lambda choice: _closeness(word, choice), default="")
    if closest and _closeness(word, closest) >= _CLOSE:
        return f'; did you mean "{closest}"?'
    if known and len(known) <= _FEW:
        return f"; choose {any_of(known)}"
    return ""


def any_of(words: Iterable[str]) -> str:
    """The words in quotes, as a choice: ``"a", "b" or "c"``."""
    quoted = [f'"{word}"' for word in words]
    return " or ".join(part for part in (", ".join(quoted[:-1]), quoted[-1] if quoted else "") if part)


def _closeness(word: str, choice: str) -> float:
    """The similarity of two names, from 0 to 1; a name also resembles each of its parts a little."""
    parts = choice.split("_") if "_" in choice else []
    return max(_alike(word, choice), *(_PART * _alike(word, part) for part in parts), 0.0)


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()
