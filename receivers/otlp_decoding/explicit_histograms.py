# SPDX-License-Identifier: Apache-2.0
"""The points of histograms with explicit bounds, in groups with the same time and bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from ebpf_sidecar.pipeline.buckets import ExplicitBuckets

from .histogram_group import MALFORMED, HistogramGroup, Losses, group_of, point_problem
from .wire import HistogramPoint


def explicit_groups(points: Iterable[bytes], losses: Losses) -> Iterator[HistogramGroup]:
    """The groups, earlier times first. Raises `google.protobuf.message.DecodeError`."""
    groups: dict[tuple[int, tuple[float, ...]], list[Any]] = {}
    for body in points:
        point = HistogramPoint.FromString(body)
        losses.exemplars += len(point.exemplars)
        if problem := _problem(point):
            losses.dropped[problem] += 1
        else:
            groups.setdefault((point.time_unix_nano, tuple(point.explicit_bounds)), []).append(point)
    for (time, bounds), alike in sorted(groups.items(), key=lambda item: item[0]):
        counts = np.array([point.bucket_counts or [point.count] for point in alike], np.uint64)
        yield group_of(alike, time, counts, ExplicitBuckets(np.array(bounds, np.float64)))


def _problem(point: Any) -> str:
    """Why the point cannot be represented, or nothing."""
    if problem := point_problem(point):
        return problem
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    if not counts and not bounds:
        return ""  # one bucket, which holds everything
    fits = len(counts) == len(bounds) + 1 and sum(counts) == point.count
    ascending = all(one < other for one, other in pairwise([*bounds, float("inf")]))  # and none is NaN
    return "" if fits and ascending else MALFORMED
