# SPDX-License-Identifier: Apache-2.0
"""The structure of a MAL expression: operands, calls on them, and arithmetic between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .mal import MalError, Token, tokens

_END = Token("end", "")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Name:
    """A bare word: a metric, or the argument of `downsampling`."""

    text: str


@dataclass(frozen=True)
class Number:
    """As it is written."""

    text: str


@dataclass(frozen=True)
class Text:
    """A string."""

    text: str


@dataclass(frozen=True)
class Listing:
    """``['a', 'b']``."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Closure:
    """``{ tags -> … }``: its words."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Dotted:
    """``Layer.X``: a name behind a dot that is not called."""

    target: Node
    name: str


@dataclass(frozen=True)
class Call:
    """``target.name(arguments)``, or without a target."""

    target: Node | None
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Arithmetic:
    """``left sign right``."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Negative:
    """``-value``."""

    value: Node


Node = Name | Number | Text | Listing | Closure | Dotted | Call | Arithmetic | Negative


def parse(text: str) -> Node:
    """The tree of an expression, or of a suffix such as ``service(['a'], Layer.X)``. Raises `MalError`."""
    reader = _Reader(list(tokens(text)))
    tree = reader.expression()
    if reader.next is not _END:
        raise MalError(f'"{reader.next.text}" is not expected there')
    return tree


def calls(node: Node) -> Iterator[Call]:
    """Every call in it, the inner ones first."""
    for child in children(node):
        yield from calls(child)
    if isinstance(node, Call):
        yield node


def every(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in children(node):
        yield from every(child)


def children(node: Node) -> Sequence[Node]:
    """Those directly below it."""
    match node:
        case Listing(items):
            return items
        case Dotted(target, _):
            return (target,)
        case Call(target, _, arguments):
            return arguments if target is None else (target, *arguments)
        case Arithmetic(_, left, right):
            return (left, right)
        case Negative(value):
            return (value,)
        case _:
            return ()


class _Reader:
    """Reads from left to right, one word ahead."""

    def __init__(self, words: Sequence[Token]) -> None:
        self._words, self._place = words, 0

    @property
    def next(self) -> Token:
        return self._words[self._place] if self._place < len(self._words) else _END

    def expression(self) -> Node:
        return self._arithmetic("+-", lambda: self._arithmetic("*/", self._chain))

    def _arithmetic(self, signs: str, operand: Callable[[], Node]) -> Node:
        left = operand()
        while self.next.kind == "sign" and self.next.text in signs:
            sign = self._take().text
            left = Arithmetic(sign, left, operand())
        return left

    def _chain(self) -> Node:
        if self._skip("-"):
            return Negative(self._chain())
        node = self._operand()
        while self._skip("."):
            name = self._take("name").text
            node = Call(node, name, self._arguments()) if self._is("(") else Dotted(node, name)
        return node

    def _operand(self) -> Node:
        word = self._take()
        if word.kind == "number":
            return Number(word.text)
        if word.kind == "string":
            return Text(word.text)
        if word.kind == "name":
            return Call(None, word.text, self._arguments()) if self._is("(") else Name(word.text)
        return self._bracket(word)

    def _bracket(self, opening: Token) -> Node:
        if opening == Token("sign", "("):
            inner = self.expression()
            self._expect(")")
            return inner
        if opening == Token("sign", "["):
            return Listing(self._items("]"))
        if opening == Token("sign", "{"):
            return Closure(tuple(self._until_closed("}")))
        raise MalError(f'"{opening.text}" is not expected there' if opening is not _END else "it ends too early")

    def _arguments(self) -> tuple[Node, ...]:
        self._expect("(")
        return self._items(")")

    def _items(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._skip(closing):
            if items:
                self._expect(",")
            items.append(self.expression())
        return tuple(items)

    def _until_closed(self, closing: str) -> Iterator[Token]:
        while not self._skip(closing):
            word = self._take()
            yield word
            if word.kind == "sign" and word.text in _PAIRS:
                yield from self._until_closed(_PAIRS[word.text])
                yield Token("sign", _PAIRS[word.text])

    def _is(self, sign: str) -> bool:
        return self.next == Token("sign", sign)

    def _skip(self, sign: str) -> bool:
        found = self._is(sign)
        self._place += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise MalError(
                f'"{sign}" is missing' + (f' before "{self.next.text}"' if self.next.text else " at the end")
            )

    def _take(self, kind: str = "") -> Token:
        word = self.next
        if word is _END or (kind and word.kind != kind):
            raise MalError("it ends too early" if word is _END else f'"{word.text}" is not expected there')
        self._place += 1
        return word
