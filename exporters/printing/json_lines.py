# SPDX-License-Identifier: Apache-2.0
"""Frames as JSON lines: one object per batch or per point."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind, points

from .points import Point, first_points


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Writes at most ``limit`` points of each frame, then an object with the number of ``more`` points."""

    limit: int

    def basic(self, frames: Frames) -> Iterator[str]:
        """One object for the batch."""
        yield _line({"metrics": len(frames), "points": points(frames)})

    def normal(self, frames: Frames) -> Iterator[str]:
        """One object per point."""
        for frame in frames:
            yield from self._points(frame, {"name": frame.name})

    def detailed(self, frames: Frames) -> Iterator[str]:
        """One object per point, with everything known about its metric."""
        for frame in frames:
            yield from self._points(frame, _metric(frame))

    def _points(self, frame: Frame, metric: dict[str, Any]) -> Iterator[str]:
        detailed = len(metric) > 1
        for point in first_points(frame, self.limit):
            start = {"start_time_unix_nano": point.start_time_unix_nano} if detailed else {}
            yield _line({**metric, **start, "attributes": dict(point.attributes), **_value(frame, point)})
        if len(frame) > self.limit:
            yield _line({"name": frame.name, "more": len(frame) - self.limit})


def _metric(frame: Frame) -> dict[str, Any]:
    return {
        "name": frame.name,
        "description": frame.description,
        "kind": frame.kind.value,
        "unit": frame.unit,
        "temporality": frame.temporality.value,
        "time_unix_nano": frame.time_unix_nano,
        "resource": dict(frame.resource),
        "scope": frame.scope.name,
    }


def _value(frame: Frame, point: Point) -> dict[str, Any]:
    if frame.kind is not Kind.HISTOGRAM or frame.bounds is None:
        return {"value": point.value}
    return {"count": point.count, "sum": point.sum, "bounds": frame.bounds.tolist(), "buckets": point.value}


def _line(content: dict[str, Any]) -> str:
    return json.dumps(_strict(content), ensure_ascii=True, allow_nan=False)


def _strict(content: Any) -> Any:
    """JSON has no infinities: they become text, as the protobuf mapping of JSON writes them."""
    if isinstance(content, float) and not isfinite(content):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(content), "NaN")
    if isinstance(content, dict):
        return {key: _strict(value) for key, value in content.items()}
    return [_strict(value) for value in content] if isinstance(content, list) else content
