# SPDX-License-Identifier: Apache-2.0
"""Direct calls of exporters that keep or print frames, without a queue or a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ebpf_sidecar.pipeline.balance import Balance
from ebpf_sidecar.pipeline.clock import Deadline
from ebpf_sidecar.pipeline.component import Exporter
from ebpf_sidecar.pipeline.frame import Frames, points
from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.payload import LeftOut

from .accounting import SHUTDOWN, DeliveryAccounting, DeliveryCounters


class DirectExport:
    """Calls ``exporter`` in the receiver's thread, one batch at a time."""

    def __init__(self, exporter: Exporter, counts: DeliveryCounters, telemetry: Telemetry) -> None:
        self.component, self._telemetry = exporter, telemetry
        self._account = DeliveryAccounting(counts, telemetry)
        self._turn = threading.Lock()
        self._closed, self._ended = threading.Event(), threading.Event()

    def consume(self, frames: Frames) -> None:
        """Pass a batch to the exporter; never raises."""
        number = points(frames)
        if self._closed.is_set():
            with self._account.changed:
                self._account.offer(number)
                self._account.abandon_queued(number, SHUTDOWN)
            self._account.report(number, SHUTDOWN)
            return
        in_flight = self._account.accept(number)
        with self._turn:
            if self._ended.is_set():  # it waited for its turn until after the shutdown, which has counted it as lost
                self._account.failed(in_flight, number, SHUTDOWN)
                self._account.finish(in_flight)
                return
            try:
                left_out = self.component.export(frames)
            except BaseException as problem:  # noqa: BLE001 # a plugin's exporter may fail in any way, and others must continue
                self._telemetry.error("exporting", problem)
                self._account.failed(in_flight, number, "refused")
            else:
                self._telemetry.recovered("exporting")
                self._account.left_out(in_flight, _parts(left_out))
                self._account.sent(in_flight, in_flight.points)
        self._account.finish(in_flight)

    def balance(self) -> Balance:
        """What became of all points so far."""
        with self._account.changed:
            return self._account.balance(0)

    def close(self) -> None:
        """Accept nothing more."""
        self._closed.set()

    def shutdown(self, deadline: Deadline) -> int:
        """Wait until ``deadline`` for a batch that is being exported; returns the number of lost points."""
        self.close()
        if self._turn.acquire(timeout=deadline.left()):
            self._turn.release()
        self._ended.set()
        self._account.report(self._account.abandon_in_flight(), SHUTDOWN)
        return self._account.lost


def _parts(answer: object) -> Iterable[LeftOut]:
    """What an exporter says that it left out; a plugin may answer anything."""
    return [part for part in answer if isinstance(part, LeftOut)] if isinstance(answer, (list, tuple)) else ()
