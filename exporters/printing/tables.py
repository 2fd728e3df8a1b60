# SPDX-License-Identifier: Apache-2.0
"""Frames as aligned tables for a terminal.

Control characters in external text, such as process names, are escaped: they could control the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import click

from ebpf_sidecar.pipeline.clock import utc
from ebpf_sidecar.pipeline.errors import printable
from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind, Temporality, points
from ebpf_sidecar.pipeline.text_table import aligned

from .points import Point, first_points

_GAP = "  "

Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Tables:
    """Writes at most ``limit`` points of each frame, then a line with the number of further points."""

    limit: int
    colours: bool = False

    def basic(self, frames: Frames) -> Iterator[str]:
        """One line for the batch."""
        when = max((frame.time_unix_nano for frame in frames), default=None)
        yield f"{_time(when) + _GAP if when is not None else ''}{len(frames)} metrics, {points(frames)} points"

    def normal(self, frames: Frames) -> Iterator[str]:
        """One line per point: metric, value, unit, attributes."""
        rows: list[Sequence[Cell]] = []
        for frame in frames:
            for point in first_points(frame, self.limit):
                attributes = " ".join(f"{name}={value}" for name, value in point.attributes.items())
                rows.append((frame.name, _summary(frame, point), frame.unit, attributes))
            if len(frame) > self.limit:
                rows.append((frame.name, f"… {len(frame) - self.limit} more", "", ""))
        yield from aligned(map(_shown, rows))

    def detailed(self, frames: Frames) -> Iterator[str]:
        """A table per metric: what is known about it, then a column for each attribute."""
        for frame in frames:
            yield self._styled(frame.name, bold=True) + _GAP + self._styled(_about(frame), dim=True)
            few = first_points(frame, self.limit)
            names = list(dict.fromkeys(name for point in few for name in point.attributes))
            heads = [*names, *_value_heads(frame)]
            body = [[*(point.attributes.get(name, "") for name in names), *_values(frame, point)] for point in few]
            yield from aligned(map(_shown, [heads, *body] if body else []), indent=_GAP)
            if len(frame) > self.limit:
                yield f"  … {len(frame) - self.limit} more"
            yield ""

    def _styled(self, text: str, **style: bool) -> str:
        return click.style(printable(text), **style) if self.colours else printable(text)


def _about(frame: Frame) -> str:
    temporality = "" if frame.temporality is Temporality.UNSPECIFIED else f"{frame.temporality} "
    parts = [f"{temporality}{frame.kind}", frame.unit, _time(frame.time_unix_nano), frame.description]
    resource = " ".join(f"{name}={value}" for name, value in frame.resource.items())
    return ", ".join(part for part in (*parts, resource) if part)


def _value_heads(frame: Frame) -> list[str]:
    since = [] if frame.kind is Kind.GAUGE else ["since"]
    return [*since, "count", "mean", "buckets"] if frame.kind is Kind.HISTOGRAM else [*since, "value"]


def _values(frame: Frame, point: Point) -> list[Cell]:
    since: list[Cell] = [] if frame.kind is Kind.GAUGE else [_time(point.start_time_unix_nano)]
    if frame.kind is not Kind.HISTOGRAM or frame.bounds is None:
        return [*since, point.value]
    edges = [*frame.bounds.tolist(), float("inf")]
    buckets = " ".join(f"≤{edge:g}:{count}" for edge, count in zip(edges, point.value, strict=True) if count)
    return [*since, point.count, f"{_mean(point):.6g}", buckets]


def _summary(frame: Frame, point: Point) -> Cell:
    if frame.kind is not Kind.HISTOGRAM:
        return point.value  # type: ignore[no-any-return] # a number, see Point
    return f"{point.count} of mean {_mean(point):.6g}" if point.count else "none"


def _mean(point: Point) -> float:
    return (point.sum or 0.0) / (point.count or 1)


def _shown(row: Iterable[Cell]) -> list[Cell]:
    return [printable(cell) if isinstance(cell, str) else cell for cell in row]


def _time(nanoseconds: int) -> str:
    return utc(nanoseconds / 1e9) if nanoseconds else "unknown"
