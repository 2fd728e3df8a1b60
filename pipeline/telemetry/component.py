# SPDX-License-Identifier: Apache-2.0
"""A component's telemetry: counts in the ledger, and logs each problem when it appears and when it is over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ebpf_sidecar.pipeline.component import ComponentId

from .ledger import DROPPED, ERRORS, LOST, Attributes, Instrument, Ledger, Published


@dataclass
class ComponentTelemetry:
    """Counts and logs for one component."""

    id: ComponentId
    ledger: Ledger
    logger: logging.Logger | logging.LoggerAdapter[Any]
    _failing: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._published = Published(self.ledger)

    @property
    def _component(self) -> tuple[str, str]:
        return ("component", f"{self.id.kind.value} {self.id}")

    def dropped(self, points: int, reason: str) -> None:
        """Count data points that are not passed on, by reason."""
        attributes: Attributes = (self._component, ("reason", reason))
        if points and self.ledger.add(DROPPED, points, attributes) == points:
            self.logger.warning("dropped %d data points: %s; further ones are only counted", points, reason)

    def error(self, stage: str, problem: BaseException | str) -> None:
        """Count an error; the first of consecutive errors in a stage is logged."""
        self.ledger.add(ERRORS, 1, (self._component, ("stage", stage)))
        with self._lock:
            first = stage not in self._failing
            self._failing.add(stage)
        if first:
            problem = f"{type(problem).__name__}: {problem}" if isinstance(problem, BaseException) else problem
            self.logger.warning("%s: %s; further errors are only counted", stage, problem)

    def recovered(self, stage: str) -> None:
        """Report that a stage works again."""
        if stage not in self._failing:
            return
        with self._lock:
            self._failing.discard(stage)
        self.logger.info("%s: recovered", stage)

    def observe(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Publish a gauge of the component's own."""
        self._published.gauge(Instrument(name, unit, description), (self._component,), read)

    def count(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Publish a counter of the component's own."""
        self._published.counter(Instrument(name, unit, description), (self._component,), read)

    def lost(self, reason: str, read: Callable[[], int]) -> None:
        """Publish how many events were lost before they became data points."""
        self._published.counter(LOST, (self._component, ("reason", reason)), read)

    def withdraw(self) -> None:
        """Stop publishing: the component is gone. Its counts stay."""
        self._published.withdraw()
