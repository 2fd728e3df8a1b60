# SPDX-License-Identifier: Apache-2.0
"""What benches print: progress, and tables that people can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def progress(text: str) -> None:
    """Print progress, separate from the table."""
    print(text, file=sys.stderr, flush=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Aligned columns, the first ``left`` of them to the left."""
    lines = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    aligned = [
        [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)
