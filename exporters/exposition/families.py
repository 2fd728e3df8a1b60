# SPDX-License-Identifier: Apache-2.0
"""The latest value of every series, by metric family.

A series is what Prometheus takes it for: a name and its label text. Rows are matched by their ids within a stream, see
`StreamSeries`. A series that the newest frame does not hold keeps its last value until it expires; one that returns
goes on. Where two streams have a series of the same labels, the first keeps it for as long as it reports it: values of
two counters in turn would look like one that restarts all the time.
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
    """Series that cannot be shown because others have their labels. ``twice``: others of the same reading, which the
    later ones replaced; ``taken``: how many are another origin's. ``beyond``: for how many more there is no room."""

    twice: int = 0
    taken: Mapping[Origin, int] = field(default_factory=dict)
    beyond: int = 0

    @property
    def number(self) -> int:
        """All that have others' labels."""
        return self.twice + sum(self.taken.values())


@dataclass(slots=True)
class Family:
    """A metric and its series, by the stream that they come from."""

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
        """A batch of these readings comes, with the streams ``present``: what should be among them and is not goes."""
        for stream, series in list(self.streams.items()):
            reading = readings.get(stream.origin)
            if reading is None:
                continue
            series.begin(reading)
            missing = stream not in present and reading.misses(series.reading.number, series.reading.batch)
            if missing and series.momentary:
                del self.streams[stream]

    def end(self, origins: Collection[Origin], now: float, time: int) -> None:
        """Receivers are silent: nothing is measured now, and no value has to wait for the next reading."""
        for stream, series in list(self.streams.items()):
            if stream.origin in origins and series.momentary:
                del self.streams[stream]
            elif stream.origin in origins:
                series.reveal(now, time)

    def update(self, frame: Frame, table: LabelTable, reading: Reading, limit: PageLimit) -> Duplicates:
        """Take a newer frame in, but for series that another stream has, and for new ones beyond the limit."""
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
        """The series that the frame would share with another stream, which keeps them for as long as it reports them.

        It has stopped when this stream was exported twice since; then this one takes over.
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
        """Forget series that were last exported earlier than ``before``, and streams left without any."""
        for series in self.streams.values():
            series.expire(before)
        self.streams = {s: series for s, series in self.streams.items() if series.parts() or series.exported >= before}
        for series in self.streams.values():
            series.apart.clear()  # what was compared may have gone

    def oldest(self) -> float:
        """When the series that expires first was exported; infinite without series."""
        return min((series.oldest() for series in self.streams.values()), default=float("inf"))


class FrameRejectedError(Exception):
    """A frame that cannot stand on the page. ``reason``: a word or two for the count."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


_TARGET = MetricNames("target", "target_info", "target_info", "")
"""The family that says who was scraped; it is not ours to fill, but its names are taken."""


@dataclass
class Families:
    """All families of a page, none of which uses another's names.

    ``start``: since when there is a page, ns since the epoch: what counts from before that is not new. None: nothing is
    new, and no series is shown as 0 first.
    """

    start: int | None = None
    limit: PageLimit = field(default_factory=lambda: PageLimit(PageSize(sys.maxsize, sys.maxsize)))
    _families: dict[MetricNames, Family] = field(default_factory=dict)
    _owners: dict[str, MetricNames] = field(default_factory=lambda: {"target": _TARGET, "target_info": _TARGET})

    def __post_init__(self) -> None:
        self._readings = Readings(self.start)
        self.scrapes = 0
        """How often the page was asked for."""

    def __iter__(self) -> Iterator[Family]:
        return iter(sorted(self._families.values(), key=lambda family: family.name.text))

    def measure(self) -> None:
        """Look how much of the limit is in use, before a batch."""
        self.limit.begin((family.cost, family.parts()) for family in self._families.values())

    def table(self, name: MetricNames, stream: Stream) -> LabelTable | None:
        """The labels of the stream's newest frame in the family of that name."""
        family = self._families.get(name)
        series = family and family.streams.get(stream)
        return series.table if series else None

    def names(self) -> frozenset[str]:
        """Every name that is taken on the page."""
        return frozenset(self._owners)

    def begin(self, batch: Frames, now: float) -> None:
        """A batch comes, at ``now`` in monotonic seconds; its frames are to be `put` next."""
        readings = self._readings.begin(batch, now, self.scrapes)
        present = {frame.stream for frame in batch}
        for family in list(self._families.values()):
            family.begin(readings, present)
            self._remove_empty(family)

    def end_silent(self, now: float, time: int, patience: float) -> bool:
        """Show what there is of receivers whose next reading is overdue; whether that changes anything.

        ``patience``: after how many seconds it is where a receiver was read only once.
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
                return Duplicates()  # without series there is nothing to claim names for
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
        """Forget series that were last exported earlier than ``before``, and families left without any."""
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
