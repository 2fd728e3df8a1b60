# SPDX-License-Identifier: Apache-2.0
"""What the requests of all frames over one row set have in common."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.rows import RowSet

from .exponential_points import exponential_points
from .point_template import PointTemplate
from .points import EXPONENTIAL, HISTOGRAM, histogram_points, metric_field, number_points
from .row_attributes import encoded_rows, row_values

Extra = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ResourceGroup:
    """Rows of one resource: its attributes besides the frame's, and the rows from ``start`` to before ``end``."""

    attributes: Extra
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPoints:
    """The points of a frame, in the order of the groups. ``ends``: the position after each."""

    ends: NDArray[np.int64]
    content: memoryview

    def between(self, start: int, end: int) -> memoryview:
        """The bytes of the points from ``start`` to before ``end``."""
        return self.content[self.position(start) : self.position(end)]

    def position(self, point: int) -> int:
        """Where a point begins."""
        return int(self.ends[point - 1]) if point else 0


class RowEncoding:
    """The resource groups of a row set, and the templates of its points.

    ``resource_attributes``: columns that describe a resource, not a point.
    """

    def __init__(self, rows: RowSet, resource_attributes: Collection[str]) -> None:
        self._promoted = [name for name in resource_attributes if name in rows.columns]
        self._order, self.groups = _grouped(rows, self._promoted)
        self._templates: dict[tuple[int, bytes], PointTemplate] = {}

    def points(self, frame: Frame) -> EncodedPoints:
        """The points of a frame over the row set, with at least one row."""
        if self._order is not None:
            frame = frame.take(self._order)
        field = metric_field(frame)
        if field == EXPONENTIAL:
            return EncodedPoints(*exponential_points(frame, encoded_rows(frame.rows, 1, self._promoted)))

        def template(number: int, fixed: bytes) -> PointTemplate:
            key = number, fixed
            if key not in self._templates:
                self._templates[key] = PointTemplate.of(encoded_rows(frame.rows, number, self._promoted), fixed)
            return self._templates[key]

        made, content = (histogram_points if field == HISTOGRAM else number_points)(frame, template)
        return EncodedPoints(made.ends, content)


def _grouped(rows: RowSet, promoted: Collection[str]) -> tuple[NDArray[np.intp] | None, list[ResourceGroup]]:
    """The order that puts rows of one resource next to each other (None: they are), and the groups in it."""
    if not promoted:
        return None, [ResourceGroup((), 0, len(rows))]
    members: dict[Extra, list[int]] = {}
    for row, values in enumerate(row_values(rows, promoted)):
        members.setdefault(tuple(values.items()), []).append(row)
    ends = np.cumsum([len(each) for each in members.values()]).tolist()
    starts = [0, *ends[:-1]]
    groups = [ResourceGroup(*each) for each in zip(members, starts, ends, strict=True)]
    order = np.array([row for each in members.values() for row in each], np.intp)
    return (None if len(groups) == 1 else order), groups
