# SPDX-License-Identifier: Apache-2.0
"""Export requests as frames: one for each metric of a resource and scope, and for each time that its points have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.frame import Frame

from .metric_frames import MetricReader, Reading
from .origin_rows import NO_VALUE
from .origins import Origins
from .wire import Request


@dataclass(frozen=True, slots=True)
class Decoded:
    """The frames of a request, and what it had that they do not have.

    ``dropped``: points by reason. ``exemplars``: those of all points. ``absent``: attributes with empty values.
    """

    frames: tuple[Frame, ...]
    dropped: Mapping[str, int]
    exemplars: int
    absent: int

    @property
    def rejected(self) -> Mapping[str, int]:
        """The dropped points that the client should hear of: not those that say that a series has ended."""
        return {reason: number for reason, number in self.dropped.items() if number and reason != NO_VALUE}


class RequestDecoder:
    """Decodes the requests of one receiver. Not thread-safe."""

    def __init__(self, clock: Clock, origins: Origins | None = None) -> None:
        self._clock, self._origins = clock, origins or Origins()

    def decode(self, body: bytes) -> Decoded:
        """The frames of a serialized ``ExportMetricsServiceRequest``.

        Raises `google.protobuf.message.DecodeError` or UnicodeDecodeError for what is none.
        """
        now, reading, frames = self._clock.monotonic(), Reading(), list[Frame]()
        self._origins.begin(now)
        for resource_metrics in Request.FromString(body).resource_metrics:
            resource = self._origins.resource(resource_metrics.resource)
            for scope_metrics in resource_metrics.scope_metrics:
                scope = self._origins.scope(scope_metrics.scope)
                rows = self._origins.rows(resource, scope, now)
                reader = MetricReader(rows, resource, scope, self._clock.time_ns(), reading)
                for metric in scope_metrics.metrics:
                    frames += reader.frames(metric)
        return Decoded(tuple(frames), dict(reading.dropped), reading.exemplars, reading.absent)
