# SPDX-License-Identifier: Apache-2.0
"""The points of sums and gauges as columns.

Encoders write a point's fields in the order of their numbers, so a point begins with its times and value, at fixed
positions, and ends with its attributes. Points for which that is true are read all at once, others one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Kind

from .wire import NumberPoint, description

NOTHING, TIME, NOT_FINITE, NEGATIVE = "no_value", "time_out_of_range", "not_finite", "negative_counter"
MOST_TIME = (1 << 63) - 1
"""The year 2262; components calculate with signed numbers."""
_START, _TIME, _DOUBLE, _INT, _ATTRIBUTES = 0x11, 0x19, 0x21, 0x31, 0x3A  # field number << 3 | wire type
_END = [("time_tag", "u1"), ("time", "<u8"), ("value_tag", "u1"), ("value", "<u8"), ("attributes_tag", "u1")]
_HEADS = {
    _START: np.dtype([("start_tag", "u1"), ("start", "<u8"), *_END]),
    _TIME: np.dtype(_END),  # of gauges, which have no start time
}
"""The first bytes of a point, by the very first; with the tag of its first attribute."""


@dataclass(frozen=True, slots=True)
class NumberPoints:
    """Columns with one entry per point. ``values``: int64, or float64 if any is. ``regular``: see `OriginRows.find`."""

    starts: NDArray[np.uint64]
    times: NDArray[np.uint64]
    values: NDArray[Any]
    descriptions: Sequence[bytes]
    regular: bool
    dropped: Counter[str] = field(default_factory=Counter)
    exemplars: int = 0

    def representable(self, kind: Kind) -> NumberPoints:
        """Without the points that a frame of this kind cannot hold, which are counted; counters become unsigned."""
        times = (self.times <= MOST_TIME) & (self.starts <= MOST_TIME)
        finite = np.isfinite(self.values) if kind is not Kind.GAUGE else np.ones(len(self.values), np.bool_)
        positive = ~(self.values < 0) if kind is Kind.COUNTER else np.ones(len(self.values), np.bool_)
        dropped = self.dropped + Counter(
            {
                TIME: int((~times).sum()),
                NOT_FINITE: int((times & ~finite).sum()),
                NEGATIVE: int((times & finite & ~positive).sum()),
            }
        )
        good = times & finite & positive
        points = self if good.all() else self.take(good)
        unsigned = kind is Kind.COUNTER and points.values.dtype.kind == "i"
        values = points.values.astype(np.uint64) if unsigned else points.values
        return replace(points, values=values, dropped=dropped)

    def by_time(self) -> Iterator[tuple[int, NumberPoints]]:
        """The points of each time, earlier ones first."""
        if not len(self.times) or (self.times == self.times[0]).all():
            yield from ((int(time), self) for time in self.times[:1])
            return
        for time in np.unique(self.times):
            yield int(time), self.take(self.times == time)

    def take(self, mask: NDArray[np.bool_]) -> NumberPoints:
        """Only the points in the mask."""
        chosen = list(compress(self.descriptions, mask.tolist()))
        return replace(
            self, starts=self.starts[mask], times=self.times[mask], values=self.values[mask], descriptions=chosen
        )


def read_at_once(points: Sequence[bytes]) -> NumberPoints | None:
    """All points, or None if they are not all laid out alike."""
    layout = _HEADS.get(points[0][0]) if points and points[0] else None
    if layout is None:
        return None
    size = layout.itemsize
    joined = b"".join([point[:size] for point in points])
    if len(joined) != size * len(points):
        return None
    heads = np.frombuffer(joined, layout)
    if not _is_regular(heads):
        return None
    starts = heads["start"].copy() if "start" in (layout.names or ()) else np.zeros(len(heads), np.uint64)
    descriptions = [point[size - 1 :] for point in points]
    return NumberPoints(starts, heads["time"].copy(), _values(heads), descriptions, regular=False)


def _is_regular(heads: NDArray[Any]) -> bool:
    value_tags = heads["value_tag"]
    return bool(
        (heads["time_tag"] == _TIME).all()
        and (heads["attributes_tag"] == _ATTRIBUTES).all()
        and ((value_tags == _DOUBLE) | (value_tags == _INT)).all()
        and ("start" not in (heads.dtype.names or ()) or (heads["start_tag"] == _START).all())
    )


def _values(heads: NDArray[Any]) -> NDArray[Any]:
    bits, ints = heads["value"].copy(), heads["value_tag"] == _INT
    if ints.all():
        return bits.view(np.int64)
    return np.where(ints, bits.view(np.int64).astype(np.float64), bits.view(np.float64))


def read_one_by_one(points: Sequence[bytes]) -> NumberPoints:
    """All points that have a value. Raises `google.protobuf.message.DecodeError`."""
    read = [NumberPoint.FromString(point) for point in points]
    kinds = [point.WhichOneof("value") for point in read]
    present = [point for point, kind in zip(read, kinds, strict=True) if kind or point.flags]
    numbers = [point.as_int if point.HasField("as_int") else point.as_double for point in present]
    exact = not any(point.HasField("as_double") for point in present)
    return NumberPoints(
        np.array([point.start_time_unix_nano for point in present], np.uint64),
        np.array([point.time_unix_nano for point in present], np.uint64),
        np.array(numbers, np.int64) if exact else np.array(numbers, np.float64),
        [description(point) for point in present],
        regular=True,
        dropped=Counter({NOTHING: len(read) - len(present)}),
        exemplars=sum(len(point.exemplars) for point in read),
    )
