# SPDX-License-Identifier: Apache-2.0
"""The points of rows as bytes, into which a frame's numbers are copied.

A point is a message with a fixed part, all of whose fields have 8 bytes, and the row's attributes. Only the numbers
change from frame to frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .wire import lengths, tag

Words = NDArray[np.uint64]
_POINT = tag(1)  # data_points of Gauge, Sum and Histogram


@dataclass(frozen=True, slots=True, eq=False)
class PointTemplate:
    """``ends``: int64, for each row the position in the bytes after its point."""

    ends: NDArray[np.int64]
    _content: NDArray[np.uint8]
    _fixed: NDArray[np.int64]

    @classmethod
    def of(cls, attributes: Sequence[bytes], fixed: bytes) -> PointTemplate:
        """Points with these attributes and a fixed part, whose numbers are still to be filled in."""
        size = len(fixed)
        prefixes = lengths(size + len(each) for each in attributes)
        content = b"".join(
            [part for pair in zip(prefixes, attributes, strict=True) for part in (_POINT, pair[0], fixed, pair[1])]
        )
        heads = np.fromiter(map(len, prefixes), np.int64, len(attributes)) + len(_POINT)
        tails = np.fromiter(map(len, attributes), np.int64, len(attributes)) + size
        ends = np.cumsum(heads + tails)
        return cls(ends, np.frombuffer(content, np.uint8), ends - tails)

    def filled(self, numbers: Sequence[tuple[int, Words]]) -> memoryview:
        """The points' bytes with ``numbers``: an offset in the fixed part, and what stands there in each row.

        The numbers are one per row, several per row (next to each other), or one for all rows.
        """
        content = self._content.copy()
        # element i of this view is the 8 bytes from position i on
        words = np.ndarray((len(content) - 7,), "<u8", content, strides=(1,))
        for offset, values in numbers:
            at = self._fixed + offset
            words[at if values.ndim < 2 else at[:, np.newaxis] + 8 * np.arange(values.shape[1])] = values
        return content.data


def as_words(values: NDArray[np.generic]) -> Words:
    """Numbers of 8 bytes as the bits that go on the wire: integers (of any size) and floats."""
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, "<f8").view("<u8")
    return np.ascontiguousarray(values).astype("<i8" if values.dtype.kind in "ib" else "<u8").view("<u8")
