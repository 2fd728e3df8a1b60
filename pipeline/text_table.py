# SPDX-License-Identifier: Apache-2.0
"""Aligned tables in plain text, for terminals."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence

_STYLE = re.compile(r"\x1b\[[\d;]*m")


def aligned(
    rows: Iterable[Sequence[object]],
    right: Container[int] = (),
    *,
    floats: str = ".6g",
    gap: str = "  ",
    indent: str = "",
) -> Iterator[str]:
    """The lines of a table: text to the left, numbers and all cells of the columns ``right`` to the right.

    ``floats``: how floats are formatted. ``gap``: what is between columns. ``indent``: what lines start with.
    Colours have no width.
    """
    cells = [list(row) for row in rows]
    texts = [[f"{cell:{floats}}" if isinstance(cell, float) else str(cell) for cell in row] for row in cells]
    widths = [max(map(_width, column)) for column in zip(*texts, strict=True)]
    for row, line in zip(cells, texts, strict=True):
        to_right = (column in right or not isinstance(cell, str) for column, cell in enumerate(row))
        yield (indent + gap.join(map(_padded, line, widths, to_right))).rstrip()


def _width(text: str) -> int:
    return len(_STYLE.sub("", text)) if "\x1b" in text else len(text)


def _padded(text: str, width: int, to_right: bool) -> str:  # noqa: FBT001 # called by map
    blanks = " " * (width - _width(text))
    return blanks + text if to_right else text + blanks
