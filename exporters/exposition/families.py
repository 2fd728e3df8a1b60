# SPDX-License-Identifier: Apache-2.0
"""The latest value of every series, by metric family.

A series is what Prometheus understands by it: a name and its label text. Rows are matched by their ids within a stream,
see `StreamSeries`. A series that is not in the newest frame keeps its last value until it expires; one that returns
continues. If two streams have a series with the same labels, the first keeps it as long as it reports it: alternating
values of two counters would look like a counter that constantly restarts.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind
from ebpf_sidecar.pipeline.streams import Origin, Stream

from .labels import LabelTable
from .names import MetricNames
from .page_limit import PageLimit, PageSize, PointCost
from .readings import Reading, Readings
from .series import Points
from .stream_series import StreamSeries


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Series that cannot be shown. ``twice``: those replaced by later ones of the same reading; ``taken``: how many
    have the labels of another origin's series; ``beyond``: how many more do not fit on the page."""

    twice: int = 0
    taken: Mapping[Origin, int] = field(default_factory=dict)
    beyond: int = 0

    @property
    def number(self) -> int:
        """All series with duplicate labels."""
        return self.twice + sum(self.taken.values())


@dataclass(slots=True)
class Family:
    """A metric and its series, by stream."""

    name: MetricNames
    kind: Kind
    unit: str
    description: str
    bounds: NDArray[np.float64] | None
    cost: PointCost
    streams: dict[Stream, StreamSeries] = field(default_factory=dict)

    def parts(self) -> tuple[Points, ...]:
        """The series in the order of the page."""
        return tuple(part for series in self.streams.values() for part in series.parts())

    def begin(self, readings: Mapping[Origin, Reading], present: Collection[Stream]) -> None:
        """Start a batch of these readings with the streams ``present``: gauges that should be in it and are not go."""
        for stream, series in list(self.streams.items()):
            reading = readings.get(stream.origin)
            if reading is None:
                continue
            series.begin(reading)
            missing = stream not in present and reading.misses(series.reading.number, series.reading.batch)
            if missing and series.momentary:
                del self.streams[stream]

    def end(self, origins: Collection[Origin], now: float, time: int) -> None:
        """Receivers have become silent: gauges go, and no value has to wait for the next reading."""
        for stream, series in list(self.streams.items()):
            if stream.origin in origins and series.momentary:
                del self.streams[stream]
            elif stream.origin in origins:
                series.reveal(now, time)

    def update(self, frame: Frame, table: LabelTable, reading: Reading, limit: PageLimit) -> Duplicates:
        """Add a newer frame, except series that another stream has, and new ones beyond the limit."""
        mine = self.streams.get(frame.stream)
        taken = self._taken(frame.stream, mine, table.blocks)
        without = set().union(*taken.values())
        beyond = limit.beyond(self.cost, table.blocks, mine.parts() if mine else (), without)
        without |= beyond
        twice = 0
        if mine is None:
            self.streams[frame.stream] = StreamSeries.of(frame, table, reading, without)
        else:
            twice = mine.update(frame, table, reading, without)
        return Duplicates(twice, {stream.origin: len(blocks) for stream, blocks in taken.items()}, len(beyond))

    def _taken(self, stream: Stream, mine: StreamSeries | None, blocks: list[str]) -> dict[Stream, set[str]]:
        """The series that another stream already has, and keeps as long as it reports them.

        It has stopped if this stream was exported twice since then; then this one takes over.
        """
        taken: dict[Stream, set[str]] = {}
        for other, series in self.streams.items():
            if other == stream or (mine and mine.is_apart(other, series, blocks)):
                continue
            stopped = mine is not None and series.exported < mine.exported
            common = series.leave(blocks, all_of_them=stopped)
            if common:
                taken[other] = common
            elif mine:
                mine.apart[other] = (blocks, series.live.blocks, series.kept)
        return taken

    def expire(self, before: float) -> None:
        """Forget series that were last exported before ``before``, and streams left without any."""
        for series in self.streams.values():
            series.expire(before)
        self.streams = {s: series for s, series in self.streams.items() if series.parts() or series.exported >= before}
        for series in self.streams.values():
            series.apart.clear()  # what was compared may have gone

    def oldest(self) -> float:
        """When the series that expires first was exported; infinite without series."""
        return min((series.oldest() for series in self.streams.values()), default=float("inf"))


class FrameRejectedError(Exception):
    """A frame that cannot be shown on the page. ``reason``: a word or two for the counter."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


_TARGET = MetricNames("target", "target_info", "target_info", "")
"""The family that describes the target; it is not made from frames, but its names are taken."""


@dataclass
class Families:
    """All families of a page, none of which uses another's names.

    ``start``: when the page was created, ns since the epoch: series that count since before that are not new. None:
    nothing is new, and no series is shown as 0 first.
    """

    start: int | None = None
    limit: PageLimit = field(default_factory=lambda: PageLimit(PageSize(sys.maxsize, sys.maxsize)))
    _families: dict[MetricNames, Family] = field(default_factory=dict)
    _owners: dict[str, MetricNames] = field(default_factory=lambda: {"target": _TARGET, "target_info": _TARGET})

    def __post_init__(self) -> None:
        self._readings = Readings(self.start)
        self.scrapes = 0
        """How often the page was scraped."""

    def __iter__(self) -> Iterator[Family]:
        return iter(sorted(self._families.values(), key=lambda family: family.name.text))

    def measure(self) -> None:
        """Measure how much of the limit is in use, before a batch."""
        self.limit.begin((family.cost, family.parts()) for family in self._families.values())

    def table(self, name: MetricNames, stream: Stream) -> LabelTable | None:
        """The labels of the stream's newest frame in the family with that name."""
        family = self._families.get(name)
        series = family and family.streams.get(stream)
        return series.table if series else None

    def names(self) -> frozenset[str]:
        """Every name that is taken on the page."""
        return frozenset(self._owners)

    def begin(self, batch: Frames, now: float) -> None:
        """Start a batch at ``now``, in monotonic seconds; its frames are then `put`."""
        readings = self._readings.begin(batch, now, self.scrapes)
        present = {frame.stream for frame in batch}
        for family in list(self._families.values()):
            family.begin(readings, present)
            self._remove_empty(family)

    def end_silent(self, now: float, time: int, patience: float) -> bool:
        """Show pending values of receivers whose next reading is overdue; returns whether anything changed.

        ``patience``: after how many seconds a receiver is overdue that was read only once.
        """
        silent = self._readings.silent(now, patience)
        for family in list(self._families.values()) if silent else ():
            family.end(silent, now, time)
            self._remove_empty(family)
        return bool(silent)

    def put(self, name: MetricNames, frame: Frame, table: LabelTable) -> Duplicates:
        """Add a frame of the current batch; returns which of its series are duplicates. Raises `FrameRejectedError`."""
        if frame.values.dtype.kind not in "uifb":
            raise FrameRejectedError(
                "no numbers", _conflict(frame, f"has values of type {frame.values.dtype}", "give numbers")
            )
        family, reading = self._families.get(name), self._readings.newest[frame.stream.origin]
        if family is None or not family.parts():
            self._remove(name)
            if not len(frame):
                return Duplicates()  # no series, so no names are claimed
            self._claim(name, frame)
            family = self._families[name] = self._family(name, frame)
            return family.update(frame, table, reading, self.limit)
        if family.kind is not frame.kind:
            raise FrameRejectedError("conflicting type", _conflict(frame, f"is a {family.kind} already", _REPAIR))
        if family.unit != frame.unit:
            raise FrameRejectedError(
                "conflicting unit", _conflict(frame, f'has the unit "{family.unit}" already', _REPAIR)
            )
        if not _same_bounds(family.bounds, frame.bounds):
            if any(series.parts() for stream, series in family.streams.items() if stream != frame.stream):
                raise FrameRejectedError("conflicting bounds", _conflict(frame, "has other bounds already", _REPAIR))
            self._remove(name)
            return self.put(name, frame, table)
        return family.update(frame, table, reading, self.limit)

    def _family(self, name: MetricNames, frame: Frame) -> Family:
        cost = self.limit.cost(name, frame.kind, frame.bounds, frame.description)
        return Family(name, frame.kind, frame.unit, frame.description, frame.bounds, cost)

    def _claim(self, name: MetricNames, frame: Frame) -> None:
        for claim in sorted(name.claims(frame.kind)):
            if (owner := self._owners.get(claim)) is not None:
                what = f'needs the name "{claim}", which "{owner.text}" has with another unit or type'
                raise FrameRejectedError("conflicting name", _conflict(frame, what, "rename one of them"))
        self._owners.update(dict.fromkeys(name.claims(frame.kind), name))

    def _remove_empty(self, family: Family) -> None:
        if not family.parts():
            self._remove(family.name)

    def _remove(self, name: MetricNames) -> None:
        family = self._families.pop(name, None)
        for claim in name.claims(family.kind) if family else ():
            del self._owners[claim]

    def expire(self, before: float) -> None:
        """Forget series that were last exported before ``before``, and families left without any."""
        for family in list(self._families.values()):
            if family.oldest() < before:
                family.expire(before)
                self._remove_empty(family)

    def oldest(self) -> float:
        """When the series that expires first was exported."""
        return min((family.oldest() for family in self._families.values()), default=float("inf"))


_REPAIR = "give it another name"


def _conflict(frame: Frame, what: str, repair: str) -> str:
    return f'metric "{frame.name}" ({frame.kind}, unit "{frame.unit}") is left out: it {what}; {repair}'


def _same_bounds(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
