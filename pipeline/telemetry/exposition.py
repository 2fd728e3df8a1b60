# SPDX-License-Identifier: Apache-2.0
"""The service's own telemetry: publishes the ledger through the OpenTelemetry SDK on the ``/metrics`` page."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from .ledger import COUNTERS, RARE, Attributes, Instrument, Ledger

log = logging.getLogger(__name__)
_EOF = b"# EOF\n"
Read = Callable[[Instrument], Mapping[Attributes, Any]]
_KNOWN: ContextVar[set[tuple[Instrument, Attributes]]] = ContextVar("known")
"""The series that were already on the current page; the SDK passes no context to its callbacks."""


@contextmanager
def _ignoring_sdk_disabled() -> Iterator[None]:
    """Hide OTEL_SDK_DISABLED, which the SDK reads from the environment only."""
    switch = os.environ.pop(OTEL_SDK_DISABLED, None)
    if switch is None:
        yield
        return
    if switch.strip().lower() == "true":
        log.warning(
            "%s=%s: the service's own metrics are still published, because they report lost data; "
            "to leave them out, drop ebpf_sidecar_* where they are scraped",
            OTEL_SDK_DISABLED,
            switch,
        )
    try:
        yield
    finally:
        os.environ[OTEL_SDK_DISABLED] = switch


def _zero_first(read: Read) -> Read:
    """Show each series as 0 the first time on each page, or Prometheus would see no increase for the first error of a
    kind."""

    def shown(instrument: Instrument) -> Mapping[Attributes, Any]:
        counts, known = read(instrument), _KNOWN.get()
        new = {attributes for attributes in counts if (instrument, attributes) not in known}
        known.update((instrument, attributes) for attributes in new)
        return {attributes: 0 if attributes in new else value for attributes, value in counts.items()}

    return shown


class InternalTelemetry:
    """Publishes a ledger; one per service."""

    def __init__(self, ledger: Ledger, resource: Mapping[str, str]) -> None:
        self._ledger = ledger
        self._known: defaultdict[str, set[tuple[Instrument, Attributes]]] = defaultdict(set)
        self._registry = CollectorRegistry()
        # the exporter writes target_info once per page; scope labels would only repeat our own name
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        with _ignoring_sdk_disabled():
            self._provider = MeterProvider([reader], Resource(dict(resource)), shutdown_on_exit=False)
        self._meter = self._provider.get_meter("ebpf_sidecar")
        ProcessCollector(registry=self._registry)
        for counter in COUNTERS:
            self._create_counter(counter, _zero_first(ledger.counts) if counter in RARE else ledger.counts)
        ledger.new_gauge = self._create_gauge
        ledger.new_counter = self._create_counter

    def _create_gauge(self, gauge: Instrument) -> None:
        callbacks = [self._reader(gauge, self._ledger.read)]
        self._meter.create_observable_gauge(gauge.name, callbacks, gauge.unit, gauge.description)

    def _create_counter(self, counter: Instrument, read: Read | None = None) -> None:
        callbacks = [self._reader(counter, read or self._ledger.read)]
        self._meter.create_observable_counter(counter.name, callbacks, counter.unit, counter.description)

    @staticmethod
    def _reader(instrument: Instrument, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, dict(attributes)) for attributes, value in read(instrument).items()]

        return observe

    def exposition(self, in_openmetrics: bool, page: str = "") -> bytes:  # noqa: FBT001 # the scraper chooses
        """The service's own part of a ``page``: text 0.0.4 or OpenMetrics 1.0, without the final EOF."""
        before = _KNOWN.set(self._known[page])
        try:
            return self._generated(in_openmetrics=in_openmetrics)
        finally:
            _KNOWN.reset(before)

    def _generated(self, *, in_openmetrics: bool) -> bytes:
        if in_openmetrics:
            page: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call] # theirs
            return page.removesuffix(_EOF)
        return generate_latest(self._registry)

    def shutdown(self) -> None:
        """Stop publishing."""
        self._provider.shutdown()
