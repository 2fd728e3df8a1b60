# SPDX-License-Identifier: Apache-2.0
"""The product's own counters: the single place that records what came in, went out, failed and was dropped.

Adding is a dictionary update under a lock. OpenTelemetry's observable instruments and ``/api/v1/stats`` both read from
here, so they never disagree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.balance import Balance

Attributes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Instrument:
    """One of the product's own counters or gauges."""

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()


_RECEIVER, _PROCESSOR, _EXPORTER = ("receiver",), ("processor", "pipeline"), ("exporter",)

RECEIVED = Instrument(
    "ebpf_sidecar.receiver.accepted_metric_points",
    "{point}",
    "Data points that a receiver passed to its pipelines",
    _RECEIVER,
)
REFUSED = Instrument(
    "ebpf_sidecar.receiver.refused_metric_points",
    "{point}",
    "Data points that a pipeline refused",
    _RECEIVER,
)
INCOMING = Instrument(
    "ebpf_sidecar.processor.incoming_metric_points", "{point}", "Data points that a processor took", _PROCESSOR
)
OUTGOING = Instrument(
    "ebpf_sidecar.processor.outgoing_metric_points", "{point}", "Data points that a processor passed on", _PROCESSOR
)
OFFERED = Instrument(
    "ebpf_sidecar.exporter.offered_metric_points", "{point}", "Data points passed to an exporter", _EXPORTER
)
SENT = Instrument(
    "ebpf_sidecar.exporter.sent_metric_points", "{point}", "Data points that an exporter delivered", _EXPORTER
)
SEND_FAILED = Instrument(
    "ebpf_sidecar.exporter.send_failed_metric_points",
    "{point}",
    "Data points that an exporter could not deliver",
    _EXPORTER,
)
ENQUEUE_FAILED = Instrument(
    "ebpf_sidecar.exporter.enqueue_failed_metric_points",
    "{point}",
    "Data points dropped before an exporter, because its queue was full or closed, or damaged on disk",
    _EXPORTER,
)
RESTORED = Instrument(
    "ebpf_sidecar.exporter.restored_metric_points",
    "{point}",
    "Data points that an earlier process left in the queue on disk",
    _EXPORTER,
)
DROPPED = Instrument(
    "ebpf_sidecar.dropped_metric_points",
    "{point}",
    "Data points that were not passed on, by reason",
    ("component", "reason"),
)
FILTERED = Instrument(
    "ebpf_sidecar.filtered_metric_points",
    "{point}",
    "Data points that were left out without a loss, by reason",
    ("component", "reason"),
)
ERRORS = Instrument("ebpf.collector.errors", "{error}", "Errors by component and stage", ("component", "stage"))
HTTP_REFUSED = Instrument(
    "ebpf_sidecar.http.refused_requests",
    "{request}",
    "HTTP requests that were refused and connections that were dropped, by endpoint and reason",
    ("endpoint", "reason"),
)

LOST = Instrument(
    "ebpf_sidecar.receiver.lost_events",
    "{event}",
    "Events that were lost before they became data points, mostly in the kernel, as of the last reading",
    ("component", "reason"),
)

COUNTERS = (
    RECEIVED, REFUSED, INCOMING, OUTGOING, OFFERED, SENT, SEND_FAILED, ENQUEUE_FAILED, RESTORED, DROPPED, FILTERED,
    ERRORS, HTTP_REFUSED,
)  # fmt: skip
READ_COUNTERS = (LOST,)
"""Counters that are read of a component on each collection."""
RARE = (DROPPED, FILTERED, ERRORS, HTTP_REFUSED)
"""Counters whose series appear with the first event; the others start at 0."""

QUEUE_SIZE = Instrument("ebpf_sidecar.exporter.queue_size", "{batch}", "Batches waiting for an exporter", _EXPORTER)
QUEUED = Instrument(
    "ebpf_sidecar.exporter.queued_metric_points",
    "{point}",
    "Data points that are queued for an exporter or being delivered, so neither sent nor failed yet",
    _EXPORTER,
)
QUEUE_CAPACITY = Instrument(
    "ebpf_sidecar.exporter.queue_capacity", "{batch}", "Batches that may wait for an exporter", _EXPORTER
)

UNACCOUNTED = Instrument(
    "ebpf_sidecar.exporter.unaccounted_metric_points",
    "{point}",
    "Data points passed to an exporter of which nobody knows what became of them: 0, or there is a bug",
    _EXPORTER,
)

EXPORTER_GAUGES = (QUEUE_SIZE, QUEUE_CAPACITY, QUEUED, UNACCOUNTED)
"""Added up where an exporter has two queues: its own, and that of a predecessor which still drains after a reload."""

RELOADED = Instrument(
    "ebpf_sidecar.config.last_reload_successful",
    "",
    "1 if the configuration was accepted when it was last read, 0 if it was refused and the previous one runs on",
)
RELOAD_TIME = Instrument(
    "ebpf_sidecar.config.last_reload_success_timestamp",
    "s",
    "Unix time at which the running configuration was last read",
)
RELOAD_GAUGES = (RELOADED, RELOAD_TIME)

Read = Callable[[], float]
ReadBalance = Callable[[], Balance]


@dataclass
class Ledger:
    """All counters and gauges, by instrument and attributes."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counts: dict[Instrument, dict[Attributes, int]] = field(default_factory=dict)
    _readers: dict[Instrument, dict[Attributes, list[Read]]] = field(default_factory=dict)
    _left: dict[Attributes, int] = field(default_factory=dict)
    _balances: dict[Attributes, list[ReadBalance]] = field(default_factory=dict)
    new_gauge: Callable[[Instrument], None] | None = None
    """Called once for each gauge instrument when it first appears."""
    new_counter: Callable[[Instrument], None] | None = None
    """The same for counters that are read on each collection."""

    def add(self, instrument: Instrument, amount: int, attributes: Attributes) -> int:
        """Add to a counter; adding zero creates the series. Returns the new total."""
        with self._lock:
            return self._add(instrument, amount, attributes)

    def add_together(self, amounts: Mapping[Instrument, int], attributes: Attributes) -> None:
        """Add to several counters at one moment."""
        with self._lock:
            for instrument, amount in amounts.items():
                self._add(instrument, amount, attributes)

    def _add(self, instrument: Instrument, amount: int, attributes: Attributes) -> int:
        series = self._counts.setdefault(instrument, {})
        series[attributes] = series.get(attributes, 0) + amount
        return series[attributes]

    def leave(self, attributes: Attributes, points: int) -> None:
        """Note points that a queue which has ended leaves on disk: they are counted already."""
        with self._lock:
            self._left[attributes] = self._left.get(attributes, 0) + points

    def take_over(self, attributes: Attributes, points: int) -> int:
        """How many of the points that a queue has found are new to this ledger: not left by an earlier queue."""
        with self._lock:
            return max(0, points - self._left.pop(attributes, 0))

    def gauge(self, instrument: Instrument, attributes: Attributes, read: Read) -> None:
        """Publish the result of ``read`` on each collection, in place of an earlier one with the same attributes."""
        self._read(instrument, attributes, read, self.new_gauge)

    def counter(self, instrument: Instrument, attributes: Attributes, read: Read) -> None:
        """The same for a number that only grows."""
        self._read(instrument, attributes, read, self.new_counter)

    def account(self, attributes: Attributes, read: ReadBalance) -> None:
        """Show the balance of an exporter; it is added to that of a predecessor which still drains after a reload."""
        with self._lock:
            self._balances.setdefault(attributes, []).append(read)

    def close_account(self, attributes: Attributes, read: ReadBalance) -> None:
        """Stop showing a balance."""
        with self._lock:
            self._balances[attributes] = [each for each in self._balances.get(attributes, ()) if each is not read]

    def balances(self) -> Mapping[Attributes, Balance]:
        """The balance of each exporter, each at one moment."""
        with self._lock:
            readers = {attributes: tuple(reads) for attributes, reads in self._balances.items() if reads}
        return {attributes: sum((read() for read in reads), Balance()) for attributes, reads in readers.items()}

    def _read(
        self,
        instrument: Instrument,
        attributes: Attributes,
        read: Read,
        new: Callable[[Instrument], None] | None,
    ) -> None:
        with self._lock:
            first = instrument not in self._readers
            self._readers.setdefault(instrument, {}).setdefault(attributes, []).append(read)
        if first and new is not None:
            new(instrument)

    def withdraw(self, instrument: Instrument, attributes: Attributes, read: Read) -> None:
        """Stop publishing ``read``; an earlier one with the same attributes is published again."""
        with self._lock:
            readers = self._readers.get(instrument, {})
            left = [each for each in readers.get(attributes, ()) if each is not read]
            if left:
                readers[attributes] = left
            else:
                readers.pop(attributes, None)

    def counts(self, instrument: Instrument) -> Mapping[Attributes, int]:
        """The current totals of one counter."""
        [counts] = self.counts_of(instrument)
        return counts

    def counts_of(self, *instruments: Instrument) -> list[Mapping[Attributes, int]]:
        """The totals of several counters at one moment."""
        with self._lock:
            return [dict(self._counts.get(instrument, {})) for instrument in instruments]

    def read(self, instrument: Instrument) -> Mapping[Attributes, float]:
        """The current values of an instrument that is read on each collection."""
        with self._lock:
            readers = {attributes: tuple(reads) for attributes, reads in self._readers.get(instrument, {}).items()}
        if instrument in EXPORTER_GAUGES:
            return {attributes: float(sum(read() for read in reads)) for attributes, reads in readers.items()}
        return {attributes: float(reads[-1]()) for attributes, reads in readers.items()}

    def snapshot(self) -> Iterator[tuple[str, Attributes, float]]:
        """Every series: name, attributes, value."""
        for counter in list(self._counts):
            yield from ((counter.name, attributes, value) for attributes, value in self.counts(counter).items())
        for each in list(self._readers):
            yield from ((each.name, attributes, value) for attributes, value in self.read(each).items())


@dataclass
class Published:
    """What one owner has published, to withdraw it together."""

    ledger: Ledger
    _all: list[tuple[Instrument, Attributes, Read]] = field(default_factory=list)
    _accounts: list[tuple[Attributes, ReadBalance]] = field(default_factory=list)

    def gauge(self, instrument: Instrument, attributes: Attributes, read: Read) -> None:
        """Publish the result of ``read`` on each collection."""
        self._all.append((instrument, attributes, read))
        self.ledger.gauge(instrument, attributes, read)

    def counter(self, instrument: Instrument, attributes: Attributes, read: Read) -> None:
        """The same for a number that only grows."""
        self._all.append((instrument, attributes, read))
        self.ledger.counter(instrument, attributes, read)

    def account(self, attributes: Attributes, read: ReadBalance) -> None:
        """Publish the balance of an exporter, and its difference."""
        self._accounts.append((attributes, read))
        self.ledger.account(attributes, read)
        self.gauge(UNACCOUNTED, attributes, lambda: read().difference)

    def withdraw(self) -> None:
        """Stop publishing all of it."""
        while self._accounts:
            self.ledger.close_account(*self._accounts.pop())
        while self._all:
            self.ledger.withdraw(*self._all.pop())
