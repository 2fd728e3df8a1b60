# SPDX-License-Identifier: Apache-2.0
"""A subset of a row set, as the same object as long as the rows are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.rows import RowSet, once_per_row_set


@dataclass
class _Choice:
    """The last selection and its rows."""

    chosen: NDArray[np.bool_]
    rows: RowSet


class Subset:
    """Remembers the last selection, so that whatever is cached per row set downstream (labels) stays valid.

    It is stored in the original row set, so that nothing remains of rows that are gone.
    """

    def __init__(self) -> None:
        self._choice = once_per_row_set(_nothing)

    def of(self, rows: RowSet, chosen: NDArray[np.bool_]) -> RowSet:
        """The rows where ``chosen`` is true; ``rows`` itself when all are."""
        if chosen.all():
            return rows
        last = self._choice(rows)
        if not np.array_equal(last.chosen, chosen):
            last.chosen, last.rows = chosen, rows.take(chosen)
        return last.rows


def _nothing(rows: RowSet) -> _Choice:
    none = np.zeros(len(rows), np.bool_)
    return _Choice(none, rows.take(none))
