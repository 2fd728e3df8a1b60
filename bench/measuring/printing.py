# SPDX-License-Identifier: Apache-2.0
"""What benches print: progress, and tables that people can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ebpf_sidecar.pipeline.text_table import aligned


def progress(text: str) -> None:
    """Print progress, separate from the table."""
    print(text, file=sys.stderr, flush=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Aligned columns, the text of the first ``left`` to the left."""
    return "\n".join(aligned([heads, *rows], right=range(left, len(heads)), floats=".2f"))
