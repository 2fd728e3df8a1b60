# SPDX-License-Identifier: Apache-2.0
"""Some rows of a row set, as the same object for as long as they are the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..pipeline.rows import RowSet


@dataclass
class Subset:
    """Remembers the last choice, so that what is kept for a row set downstream (labels) stays of use."""

    _last: tuple[RowSet, NDArray[np.bool_], RowSet] | None = None

    def of(self, rows: RowSet, chosen: NDArray[np.bool_]) -> RowSet:
        """The rows where ``chosen`` is true; ``rows`` itself when all are."""
        if chosen.all():
            return rows
        if self._last is None or self._last[0] is not rows or not np.array_equal(self._last[1], chosen):
            self._last = (rows, chosen, rows.take(chosen))
        return self._last[2]
