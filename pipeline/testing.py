# SPDX-License-Identifier: Apache-2.0
"""For authors of components: a fake clock, a context, a sink, frames in one line, and the contract check.

    def test_doubles_counters():
        context = fake_context(ComponentKind.PROCESSOR, "double")
        processor = FACTORY.create(FACTORY.settings(), context)
        [doubled] = processor.process([frame("work.done", [1, 2])])

Nothing here needs pytest or a mocking library.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import contract
from .buckets import Buckets, ExplicitBuckets
from .clock import Clock
from .component import ComponentId, ComponentKind, Factory
from .frame import Frame, Frames, Kind
from .host import Context, Finished, Heartbeat, Paths, Routes, SheddableQueue, Telemetry, ignore_finished
from .payload import LeftOut, Payload
from .rows import RowSet
from .testing_doubles import RecordedHeartbeat, RecordedRoutes, RecordedTelemetry

__all__ = [
    "FakeClock",
    "FakeSender",
    "RecordedHeartbeat",
    "RecordedRoutes",
    "RecordedTelemetry",
    "Sink",
    "check_contract",
    "fake_context",
    "frame",
]

NOON = 1_767_268_800_000_000_000
"""2026-01-01 12:00:00 UTC in nanoseconds: the initial time of fake clocks and of built frames."""


class FakeClock:
    """A clock that moves only when `advance` is called, for any number of threads.

    A thread of the tested component sleeps in `wait`; the test calls `until_waiting`, then `advance`.
    """

    def __init__(self, time_ns: int = NOON) -> None:
        self._moved = threading.Condition()
        self._monotonic = 0.0
        self._time_ns = time_ns
        self._deadlines: dict[int, float] = {}

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._monotonic

    def time_ns(self) -> int:
        """Wall-clock nanoseconds since the epoch."""
        return self._time_ns

    def advance(self, seconds: float) -> None:
        """Advance both clocks and wake the threads whose deadline has passed."""
        with self._moved:
            self._monotonic += seconds
            self._time_ns += round(seconds * 1e9)
            self._moved.notify_all()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does; the monotonic clock is unaffected."""
        with self._moved:
            self._time_ns += round(seconds * 1e9)

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Sleep until the clock has advanced by ``seconds`` or ``stopped`` is set; true if it is set."""
        with self._moved:
            deadline = self._monotonic + seconds
            self._deadlines[threading.get_ident()] = deadline
            self._moved.notify_all()
            while self._monotonic < deadline and not stopped.is_set():
                self._moved.wait(0.01)  # the event cannot notify this condition: poll
            del self._deadlines[threading.get_ident()]
        return stopped.is_set()

    def until_waiting(self, threads: int = 1, timeout: float = 5.0) -> None:
        """Block until that many threads sleep on this clock (real seconds). Raises TimeoutError."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._asleep() >= threads, timeout):
                raise TimeoutError(f"{self._asleep()} of {threads} threads wait for the fake clock")

    def _asleep(self) -> int:
        return sum(deadline > self._monotonic for deadline in self._deadlines.values())


def fake_context(
    kind: ComponentKind,
    id: str,  # noqa: A002 # the word of the contract
    *,
    clock: Clock | None = None,
    telemetry: Telemetry | None = None,
    heartbeat: Heartbeat | None = None,
    routes: Routes | None = None,
    paths: Paths | None = None,
    resource: Mapping[str, str] | None = None,
    internal_telemetry: Callable[[bool], bytes] = lambda openmetrics: b"",  # noqa: ARG005 # the contract's argument
    finished: Finished = ignore_finished,
    queues: Callable[[], Mapping[ComponentId, SheddableQueue]] = dict,
) -> Context:
    """A context like the service's, whose parts only record.

    ``id`` as in the file, ``type`` or ``type/name``. Pass the parts that the test wants to inspect or control.
    """
    return Context(
        id=ComponentId.parse(kind, id),
        telemetry=telemetry or RecordedTelemetry(),
        heartbeat=heartbeat or RecordedHeartbeat(),
        routes=routes or RecordedRoutes(),
        internal_telemetry=internal_telemetry,
        logger=logging.getLogger(f"ebpf_sidecar.test.{kind.value}.{id}"),
        clock=clock or FakeClock(),
        paths=paths or Paths(),
        resource=resource or {},
        finished=finished,
        queues=queues,
    )


def check_contract(factory: Factory, valid_settings: Mapping[str, Any], context: Context | None = None) -> None:
    """Check a component against the contract. Raises AssertionError naming the violation.

    ``valid_settings``: as written in a file. ``context``: only if the component needs a prepared one; by default each
    instance gets a new one from `fake_context`. A receiver or exporter may refuse to start with a `SidecarError` (no
    privileges, no back end); shutting it down must still be safe.
    """
    contract.check(factory, valid_settings, lambda: context or fake_context(factory.kind, factory.type))


class Sink:
    """Collects frames, as a consumer or as an exporter.

    ``problems``: raised by the first calls of `export`, one each, before frames are accepted.
    """

    def __init__(self, problems: Iterable[BaseException] = ()) -> None:
        self.batches: list[Frames] = []
        self._problems = iter(problems)
        self._arrived = threading.Condition()

    def __call__(self, frames: Frames) -> None:
        """Keep the frames: the sink as a consumer."""
        with self._arrived:
            self.batches.append(tuple(frames))
            self._arrived.notify_all()

    def export(self, frames: Frames) -> None:
        """Keep the frames, or raise the next problem: the sink as an exporter."""
        for problem in self._problems:
            raise problem
        self(frames)

    @property
    def frames(self) -> list[Frame]:
        """All frames received so far, in order."""
        return [frame for batch in self.batches for frame in batch]

    def latest(self, name: str) -> Frame:
        """The last frame of that metric. Raises LookupError naming the metrics that arrived."""
        for kept in reversed(self.frames):
            if kept.name == name:
                return kept
        raise LookupError(f'no frame "{name}" arrived; these did: {sorted({kept.name for kept in self.frames})}')

    def until(self, batches: int, timeout: float = 5.0) -> None:
        """Block until that many batches have arrived (real seconds). Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.batches) >= batches, timeout):
                raise TimeoutError(f"{len(self.batches)} of {batches} batches arrived")


class FakeSender:
    """A sender whose back end is a list of payloads.

    ``problems``: raised by the first calls of `send`, one each; None for a call that succeeds. ``points_each``: the
    most points per payload. ``lost``, ``filtered``: metrics whose points are left out, with and without a loss.
    """

    def __init__(
        self,
        problems: Iterable[BaseException | None] = (),
        points_each: int = 1_000_000,
        *,
        lost: Collection[str] = (),
        filtered: Collection[str] = (),
    ) -> None:
        self.payloads: list[Payload] = []
        self.encoded = 0
        """Batches that were encoded."""
        self._problems, self._points_each = iter(problems), points_each
        self._lost, self._filtered = lost, filtered
        self._arrived = threading.Condition()

    def encode(self, frames: Frames) -> Iterator[Payload | LeftOut]:
        """Each point as text."""
        self.encoded += 1
        yield LeftOut(sum(len(each) for each in frames if each.name in self._lost), "unwanted", lost=True)
        yield LeftOut(sum(len(each) for each in frames if each.name in self._filtered), "empty", lost=False)
        kept = [frame for frame in frames if frame.name not in (*self._lost, *self._filtered)]
        values = [f"{frame.name} {value}" for frame in kept for value in frame.values.tolist()]
        for first in range(0, len(values), self._points_each):
            part = values[first : first + self._points_each]
            yield Payload("\n".join(part).encode(), len(part), {"kind": "text"})

    def send(self, payload: Payload) -> None:
        """Keep the payload, or raise the next problem."""
        problem = next(self._problems, None)
        if problem is not None:
            raise problem
        with self._arrived:
            self.payloads.append(payload)
            self._arrived.notify_all()

    @property
    def delivered(self) -> list[str]:
        """All points that arrived, in order."""
        return [line for payload in self.payloads for line in payload.body.decode().split("\n")]

    def until(self, payloads: int, timeout: float = 5.0) -> None:
        """Block until that many payloads have arrived (real seconds). Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.payloads) >= payloads, timeout):
                raise TimeoutError(f"{len(self.payloads)} of {payloads} payloads arrived")


_DTYPES = {Kind.COUNTER: np.uint64, Kind.HISTOGRAM: np.uint64, Kind.GAUGE: np.float64, Kind.UPDOWNCOUNTER: np.float64}


def frame(
    name: str,
    values: Sequence[Any],
    rows: RowSet | Sequence[Mapping[str, str | int | float]] | None = None,
    *,
    kind: Kind | None = None,
    bounds: Sequence[float] | None = None,
    buckets: Buckets | None = None,
    sums: Sequence[float] | None = None,
    time_unix_nano: int = NOON,
    **parts: Any,
) -> Frame:
    """A frame from plain lists.

    ``rows``: records of attributes, or a row set to share; by default rows are distinguished by an attribute ``row``
    (a single row has no attributes). ``kind``: by default a counter, or a histogram if ``bounds`` (of
    explicit buckets) or ``buckets`` are given.
    ``sums``: by default each observation counts as its bucket's bound. ``parts``: any other field of `Frame`.
    """
    if bounds is not None:
        buckets = ExplicitBuckets(np.array(bounds, dtype=np.float64))
    kind = kind or (Kind.COUNTER if buckets is None else Kind.HISTOGRAM)
    if rows is None:
        rows = [{}] if len(values) == 1 else [{"row": str(number)} for number in range(len(values))]
    array = np.array(values, dtype=_DTYPES[kind])
    if buckets is not None and sums is None:
        edges = buckets.bounds
        sums = (array.reshape(len(rows), len(edges) + 1) @ np.append(edges, edges[-1:] or 0.0)).tolist()
    return Frame(
        name=name,
        kind=kind,
        rows=rows if isinstance(rows, RowSet) else RowSet.of(rows),
        values=array,
        buckets=buckets,
        sums=None if sums is None else np.array(sums, dtype=np.float64),
        time_unix_nano=time_unix_nano,
        **parts,
    )
