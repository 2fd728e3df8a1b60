# SPDX-License-Identifier: Apache-2.0
"""Walks a YAML document, and collects every mistake with its path instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ebpf_sidecar.pipeline.suggestions import did_you_mean

T = TypeVar("T")
_LARGEST = 1e30


@dataclass(frozen=True, slots=True)
class Node:
    """A value in the document, its path, and the list of mistakes (shared by all nodes)."""

    value: Any
    path: str
    mistakes: list[str]

    def wrong(self, message: str) -> None:
        """Record a mistake here."""
        self.mistakes.append(f"{self.path}: {message}")

    def only(self, known: Sequence[str], needed: Iterable[str] = ()) -> Node:
        """Take the node as a mapping with no keys other than ``known`` and with all ``needed``."""
        if not isinstance(self.value, dict):
            self.wrong("must be a mapping")
            return Node({}, self.path, [])
        for key in self.value.keys() - set(known):
            self.wrong(f'unknown key "{key}"{did_you_mean(str(key), known)}')
        for key in needed:
            if key not in self.value:
                self.wrong(f'"{key}" is missing; add it')
        return self

    def names(self) -> tuple[str, ...]:
        """The keys of a mapping that may have any text keys."""
        if not isinstance(self.value, dict):
            self.wrong("must be a mapping")
            return ()
        for key in self.value:
            if not isinstance(key, str):
                self.wrong(f'"{key}" must be text; put it in quotes')
        return tuple(key for key in self.value if isinstance(key, str))

    def has(self, key: str) -> bool:
        """Whether the mapping has the key."""
        return key in self.value

    def child(self, key: str | int, default: Any = None) -> Node:
        """The value below ``key``."""
        value = self.value.get(key, default) if isinstance(self.value, dict) else self.value[key]
        path = f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}::{key}"
        return Node(value, path, self.mistakes)

    def text(self, key: str, default: str = "") -> str:
        """A string below ``key``."""
        return str(self._typed(key, str, default, "text")).strip()

    def number(self, key: str, default: int = 0) -> int:
        """A whole number, not negative, below ``key``."""
        number: int = self._typed(key, int, default, "a whole number")
        if isinstance(number, bool) or number < 0:
            self.child(key).wrong(f'"{number}" must be a whole number, not negative')
            return default
        return number

    def flag(self, key: str) -> bool:
        """True or false below ``key``, false if missing."""
        return bool(self._typed(key, bool, default=False, words="true or false"))

    def decimal(self, key: str, default: float) -> float:
        """A number below ``key``."""
        number = self._typed(key, (int, float), default, "a number")
        if not abs(number) < _LARGEST:  # also wrong for NaN
            self.child(key).wrong(f'"{number}" must be a number below {_LARGEST:g}')
            return default
        return float(number)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings below ``key``, empty if missing."""
        values = self._typed(key, list, [], "a list of words")
        for i, value in enumerate(values):
            if not isinstance(value, str):
                self.child(key).child(i).wrong(f'"{value}" must be text; put it in quotes')
        return tuple(value for value in values if isinstance(value, str))

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers below ``key``, none negative, empty if missing."""
        values = self._typed(key, list, [], "a list of whole numbers")
        good = [isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values]
        for i, value in enumerate(values):
            if not good[i]:
                self.child(key).child(i).wrong(f'"{value}" must be a whole number, not negative')
        return tuple(value for i, value in enumerate(values) if good[i])

    def choice(self, key: str, choices: Sequence[T], default: T) -> T:
        """One of ``choices`` below ``key``."""
        value = self.value.get(key, default)
        for choice in choices:
            if value == choice:
                return choice
        self.child(key).wrong(f'unknown "{value}"{did_you_mean(str(value), [str(choice) for choice in choices])}')
        return default

    def each(self, key: str, build: Callable[[Node], T]) -> tuple[T, ...]:
        """A list below ``key``, each element made by ``build``."""
        node = self.child(key, [])
        if not isinstance(node.value, list):
            node.wrong("must be a list")
            return ()
        return tuple(build(node.child(i)) for i in range(len(node.value)))

    def _typed(self, key: str, kind: type | tuple[type, ...], default: Any, words: str) -> Any:
        value = self.value.get(key, default)
        if isinstance(value, kind):
            return value
        self.child(key).wrong(f'"{value}" must be {words}')
        return default
