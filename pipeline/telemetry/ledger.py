# SPDX-License-Identifier: Apache-2.0
"""The product's own counters: the single place that records what came in, went out, failed and was dropped.

Adding is a dictionary update under a lock. OpenTelemetry's observable instruments and ``/api/v1/stats`` both read from
here, so they never disagree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.component import ComponentId

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
    "ebpf_sidecar.processor.incoming_metric_points", "{point}", "Data points passed to a processor", _PROCESSOR
)
OUTGOING = Instrument(
    "ebpf_sidecar.processor.outgoing_metric_points", "{point}", "Data points that a processor passed on", _PROCESSOR
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
ERRORS = Instrument("ebpf.collector.errors", "{error}", "Errors by component and stage", ("component", "stage"))
HTTP_REFUSED = Instrument(
    "ebpf_sidecar.http.refused_requests",
    "{request}",
    "HTTP requests that were refused and connections that were dropped, by endpoint and reason",
    ("endpoint", "reason"),
)

COUNTERS = (
    RECEIVED, REFUSED, INCOMING, OUTGOING, SENT, SEND_FAILED, ENQUEUE_FAILED, RESTORED, DROPPED, ERRORS, HTTP_REFUSED,
)  # fmt: skip
RARE = (DROPPED, ERRORS, HTTP_REFUSED)
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

QUEUE_GAUGES = (QUEUE_SIZE, QUEUE_CAPACITY, QUEUED)


@dataclass
class Ledger:
    """All counters and gauges, by instrument and attributes."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counts: dict[Instrument, dict[Attributes, int]] = field(default_factory=dict)
    _readers: dict[Instrument, dict[Attributes, Callable[[], float]]] = field(default_factory=dict)
    new_gauge: Callable[[Instrument], None] | None = None
    """Called once for each gauge instrument when it first appears."""
    new_counter: Callable[[Instrument], None] | None = None
    """The same for counters that are read on each collection."""

    def add(self, instrument: Instrument, amount: int, attributes: Attributes) -> int:
        """Add to a counter; adding zero creates the series. Returns the new total."""
        with self._lock:
            series = self._counts.setdefault(instrument, {})
            series[attributes] = series.get(attributes, 0) + amount
            return series[attributes]

    def gauge(self, instrument: Instrument, attributes: Attributes, read: Callable[[], float]) -> None:
        """Publish the result of ``read`` on each collection."""
        self._read(instrument, attributes, read, self.new_gauge)

    def counter(self, instrument: Instrument, attributes: Attributes, read: Callable[[], float]) -> None:
        """The same for a number that only grows."""
        self._read(instrument, attributes, read, self.new_counter)

    def _read(
        self,
        instrument: Instrument,
        attributes: Attributes,
        read: Callable[[], float],
        new: Callable[[Instrument], None] | None,
    ) -> None:
        with self._lock:
            first = instrument not in self._readers
            self._readers.setdefault(instrument, {})[attributes] = read
        if first and new is not None:
            new(instrument)

    def forget(self, component: ComponentId) -> None:
        """Stop reading the instruments of a component that has gone; its counts stay."""
        kind, name = component.kind.value, str(component)
        marks = {(kind, name), ("component", f"{kind} {name}")}
        with self._lock:
            for readers in self._readers.values():
                for attributes in [each for each in readers if marks.intersection(each)]:
                    del readers[attributes]

    def counts(self, instrument: Instrument) -> Mapping[Attributes, int]:
        """The current totals of one counter."""
        with self._lock:
            return dict(self._counts.get(instrument, {}))

    def read(self, instrument: Instrument) -> Mapping[Attributes, float]:
        """The current values of an instrument that is read on each collection."""
        with self._lock:
            readers = dict(self._readers.get(instrument, {}))
        return {attributes: float(read()) for attributes, read in readers.items()}

    def snapshot(self) -> Iterator[tuple[str, Attributes, float]]:
        """Every series: name, attributes, value."""
        for counter in list(self._counts):
            yield from ((counter.name, attributes, value) for attributes, value in self.counts(counter).items())
        for each in list(self._readers):
            yield from ((each.name, attributes, value) for attributes, value in self.read(each).items())
