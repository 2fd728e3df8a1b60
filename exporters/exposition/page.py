# SPDX-License-Identifier: Apache-2.0
"""Families as text, in format 0.0.4 or OpenMetrics 1.0.

It is fast because there is no Python loop over series: label blocks and numbers are joined by `map` and `str.join`,
with the repeated parts of lines as the separator. Text is rendered in pieces that fit into the CPU cache; a page of
30 MB in one string spends more time in page faults than in rendering.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Kind

from .families import Family
from .labels import label_block
from .names import label_name
from .numbers import bound_text, number_texts
from .series import Points

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_NUMBERS_AT_ONCE, _HISTOGRAMS_AT_ONCE = 2048, 128

_TYPES = {Kind.COUNTER: "counter", Kind.UPDOWNCOUNTER: "gauge", Kind.GAUGE: "gauge", Kind.HISTOGRAM: "histogram"}


@dataclass(frozen=True, slots=True)
class Format:
    """How a page is written."""

    openmetrics: bool
    timestamps: bool = False
    """Each sample has the time at which it was read."""
    created: bool = False
    """OpenMetrics only: each counter and histogram has its start time."""

    def target_info(self, resources: Iterable[Mapping[str, str]]) -> bytes:
        """The target's resource attributes; OpenMetrics requires this family first on the page."""
        blocks = sorted({label_block({label_name(k): v for k, v in r.items()}) for r in resources if r})
        if not blocks:
            return b""
        name, kind = ("target", "info") if self.openmetrics else ("target_info", "gauge")
        samples = "".join(f"target_info{block}1\n" for block in blocks)
        return f"# HELP {name} Target metadata\n# TYPE {name} {kind}\n{samples}".encode()

    def family(self, family: Family) -> list[bytes]:
        """One family with its comments, in pieces; nothing without series."""
        parts = family.parts()
        histogram = family.kind is Kind.HISTOGRAM
        write, size = (self._histogram, _HISTOGRAMS_AT_ONCE) if histogram else (self._numbers, _NUMBERS_AT_ONCE)
        pieces = [write(family, few.shown()).encode() for part in parts for few in part.slices(size)]
        return [self._head(family).encode(), *pieces] if pieces else []

    def _head(self, family: Family) -> str:
        name = family.name.family if self.openmetrics else family.name.text
        lines = []
        if family.description:
            lines.append(f"# HELP {name} {self._help(family.description)}\n")
        lines.append(f"# TYPE {name} {_TYPES[family.kind]}\n")
        if self.openmetrics and family.name.unit:
            lines.append(f"# UNIT {name} {family.name.unit}\n")
        return "".join(lines)

    def _help(self, description: str) -> str:
        text = description.replace("\\", r"\\").replace("\n", r"\n")
        text = text.replace('"', r"\"") if self.openmetrics else text
        return text.encode("utf-8", "replace").decode()

    def _numbers(self, family: Family, points: Points) -> str:
        name = family.name.sample if self.openmetrics else family.name.text
        texts = self._stamped(number_texts(points.values), points)
        if self.openmetrics and self.created and family.kind is Kind.COUNTER:
            rows = zip(points.blocks, texts, self._created(family, points), strict=True)
            return "".join(map(f"{name}%s%s\n%s".__mod__, rows))
        return f"{name}" + f"\n{name}".join(map(add, points.blocks, texts)) + "\n"

    def _created(self, family: Family, points: Points) -> list[str]:
        """For each series the line with its start time, empty if unknown."""
        stamps, name = self._stamped(_seconds(points.starts), points), f"{family.name.family}_created"
        starts = (points.starts > 0).tolist()
        lines = zip(points.blocks, stamps, starts, strict=True)
        return [f"{name}{block}{stamp}\n" if known else "" for block, stamp, known in lines]

    def _stamped(self, texts: Sequence[str], points: Points) -> Sequence[str]:
        """The numbers, followed by their timestamps if enabled."""
        if not self.timestamps:
            return texts
        times = _seconds(points.times) if self.openmetrics else map(str, (points.times // 1_000_000).tolist())
        return [f"{text} {time}" for text, time in zip(texts, times, strict=True)]

    def _histogram(self, family: Family, points: Points) -> str:
        name, bounds = family.name.family, family.bounds
        assert bounds is not None  # histograms have bounds, see Frame
        assert points.sums is not None
        edges = [*map(bound_text, bounds[:-1] if _ends_infinite(bounds) else bounds), "+Inf"]
        counts = np.cumsum(points.values, axis=1, dtype=np.uint64)
        if _ends_infinite(bounds):  # two buckets with bound +Inf are one
            counts = counts[:, [*range(len(edges) - 1), -1]]
        labels = [block[1:-2] for block in points.blocks]
        opened = [f"{label}," if label else "" for label in labels]
        template = "".join(f'{name}_bucket{{%sle="{edge}"}} %s\n' for edge in edges)
        columns: list[Iterable[str]] = []
        for bucket in range(len(edges)):
            columns += (opened, self._stamped(number_texts(counts[:, bucket]), points))
        for suffix, values in (("sum", points.sums), ("count", counts[:, -1])):
            template += f"{name}_{suffix}%s%s\n"
            columns += (points.blocks, self._stamped(number_texts(values), points))
        if self.openmetrics and self.created:
            template += "%s"
            columns.append(self._created(family, points))
        return "".join(map(template.__mod__, zip(*columns, strict=True)))


def _ends_infinite(bounds: NDArray[np.float64]) -> bool:
    return bool(len(bounds)) and bool(np.isposinf(bounds[-1]))


def _seconds(nanoseconds: NDArray[np.int64] | NDArray[np.uint64]) -> list[str]:
    """Unix time in seconds, exact to the millisecond."""
    return [f"{time // 1_000_000_000}.{time // 1_000_000 % 1000:03d}" for time in nanoseconds.tolist()]
