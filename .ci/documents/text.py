# SPDX-License-Identifier: Apache-2.0
"""Markdown that reads well as plain text too: aligned tables, wrapped lists, docstrings as prose."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from itertools import groupby

WIDTH = 120


def block(function: Callable[..., str]) -> Callable[..., str]:
    """Surround the text between two cog marks with empty lines."""

    @wraps(function)
    def surrounded(*arguments: object, **named: object) -> str:
        return f"\n{function(*arguments, **named).strip()}\n"

    return surrounded


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with aligned columns; the last one, which holds the sentences, is as wide as it has to be."""
    body = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    widths[-1] = len(header[-1])
    rule = ["-" * width for width in widths]
    return "\n".join(_line(cells, widths) for cells in (header, rule, *body))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)) + " |"


def bullets(items: Iterable[str]) -> str:
    """A list, wrapped."""
    return "\n".join(_wrapped(item, "* ") for item in items)


def paragraph(text: str) -> str:
    """One wrapped paragraph."""
    return _wrapped(" ".join(text.split()))


def _wrapped(text: str, mark: str = "") -> str:
    wrapper = textwrap.TextWrapper(WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark))
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.fill(text)


def code(value: str) -> str:
    """A word of the machine's."""
    return f"`{value}`" if value else ""


def codes(values: Iterable[str]) -> str:
    """Several such words."""
    return ", ".join(map(code, values))


def either(words: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def sentence(text: str) -> str:
    """A capital and a full stop."""
    text = inline(" ".join(text.split()))
    if re.match(r"[a-z]+\b", text):  # a name, such as gRPC, is left as it is
        text = text[0].upper() + text[1:]
    ended = re.search(r"[.!?][)\"]*$", text)  # also within a bracket
    return text if ended or not text else f"{text}."


def inline(text: str) -> str:
    """A docstring's ``words`` as `words`; angle brackets outside of them are no HTML."""
    parts = text.replace("``", "`").split("`")
    return "`".join(part if place % 2 else part.replace("<", r"\<") for place, part in enumerate(parts))


def first_sentence(docstring: str | None) -> str:
    """The summary of a docstring, on one line."""
    opening = inspect.cleandoc(docstring or "").split("\n\n")[0]
    return inline(re.split(r"(?<=[.?])\s+(?=[A-Z`])", " ".join(opening.split()))[0])


def prose(docstring: str, language: str = "yaml") -> str:
    """A docstring as markdown: what is indented in it is an example, fenced as ``language``."""
    lines = inspect.cleandoc(docstring).splitlines()
    return "\n".join(_blocks(lines, language)).strip()


def _blocks(lines: Sequence[str], language: str) -> Iterator[str]:
    for is_example, group in groupby(_paragraphs(lines), key=lambda block: block[0].startswith("    ")):
        blocks = ["\n".join(block) for block in group]
        if is_example:
            example = textwrap.dedent("\n\n".join(blocks))
            yield f"```{language}\n{example}\n```\n"
        else:
            yield from (f"{inline(block)}\n" for block in blocks)


def _paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
    for filled, block in groupby(lines, key=lambda line: bool(line.strip())):
        if filled:
            yield list(block)
