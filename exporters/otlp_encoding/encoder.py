# SPDX-License-Identifier: Apache-2.0
"""From frames to requests."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from ebpf_sidecar.pipeline.frame import Frame, Frames
from ebpf_sidecar.pipeline.resource import Resource
from ebpf_sidecar.pipeline.rows import once_per_row_set

from .points import metric_field, metric_properties
from .request import Metric, Request, RequestLimits, metric_head, resource_message, scope_message
from .row_encoding import EncodedPoints, ResourceGroup, RowEncoding

_AROUND = 256  # bytes of a request around the points of a metric with short names


@dataclass
class Encoder:
    """Encodes frames within ``limits``. ``resource_attributes``: columns that become attributes of a resource, so that
    each distinct combination is a ``ResourceMetrics`` of its own. Calls come one at a time."""

    limits: RequestLimits
    resource_attributes: Collection[str] = ()

    def __post_init__(self) -> None:
        self._encoding = once_per_row_set(lambda rows: RowEncoding(rows, self.resource_attributes))

    def requests(self, frames: Frames) -> Iterator[tuple[bytes, int]]:
        """The bytes of each request and the number of its points."""
        request = Request(self.limits)
        for metric in (metric for frame in frames if len(frame) for metric in self._metrics(frame)):
            if not request.fits(metric):
                yield request.body(), request.points
                request = Request(self.limits)
            request.add(metric)
        if request.points:
            yield request.body(), request.points

    def _metrics(self, frame: Frame) -> Iterator[Metric]:
        encoding = self._encoding(frame.rows)
        points = encoding.points(frame)
        head, scope = metric_head(frame.name, frame.description, frame.unit), scope_message(frame.scope)
        what, properties = metric_field(frame), metric_properties(frame)
        for group in encoding.groups:
            resource = resource_message(Resource(frame.resource), group.attributes)
            room = self.limits.max_bytes - len(resource) - len(scope) - len(head) - _AROUND
            for start, end in self._pieces(points, group, room):
                yield Metric(resource, scope, head, what, properties, points.between(start, end), end - start)

    def _pieces(self, points: EncodedPoints, group: ResourceGroup, room: int) -> Iterator[tuple[int, int]]:
        """Runs of a group's rows that each fit into a request, at least one row each."""
        start = group.start
        while start < group.end:
            fitting = int(np.searchsorted(points.ends, points.position(start) + room, side="right"))
            end = min(max(fitting, start + 1), group.end, start + (self.limits.max_points or len(points.ends)))
            yield start, end
            start = end
