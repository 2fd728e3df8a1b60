# SPDX-License-Identifier: Apache-2.0
"""Requests that the HTTP servers refuse and connections that they drop: counted, and logged at a bounded rate."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from ebpf_sidecar.pipeline.telemetry.ledger import HTTP_REFUSED, Ledger

QUIET_SECONDS = 600.0
"""The minimum time between two log lines about the same reason on the same endpoint."""


class HttpRefusal(StrEnum):
    """Why something was refused; the value is the label ``reason``."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    BYTES_UNDER_WAY = "bytes_under_way"
    BODIES_UNDER_WAY = "bodies_under_way"
    CONNECTION_LIMIT = "connection_limit"
    MADE_ROOM = "made_room"
    REQUEST_TIMEOUT = "request_timeout"
    ANSWER_TIMEOUT = "answer_timeout"
    PEER_GONE = "peer_gone"


_TEXTS = {
    HttpRefusal.MALFORMED: "an invalid HTTP request was answered with 400 or 501",
    HttpRefusal.TOO_LARGE: "a request with too large a header or body was answered with 413 or 431",
    HttpRefusal.BYTES_UNDER_WAY: "a request was answered with 503, because unread responses use too much memory",
    HttpRefusal.BODIES_UNDER_WAY: "a request was answered with 503, because unread bodies use too much memory",
    HttpRefusal.CONNECTION_LIMIT: "a request was answered with 503, because all connections are in use",
    HttpRefusal.MADE_ROOM: "all connections were in use, and idle or stalled ones were closed for new ones",
    HttpRefusal.REQUEST_TIMEOUT: "a connection was closed, because no complete request arrived in time",
    HttpRefusal.ANSWER_TIMEOUT: "a connection was closed, because its client did not read the response in time",
    HttpRefusal.PEER_GONE: "a request was skipped, because its client had disconnected",
}


class RefusalCounter:
    """Counts by endpoint and reason; thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        logger: logging.Logger | logging.LoggerAdapter[Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._logger, self._clock = ledger, logger, clock
        self._lock = threading.Lock()
        self._logged: dict[tuple[str, HttpRefusal], tuple[float, int]] = {}

    def add(self, endpoint: str, reason: HttpRefusal) -> None:
        """Count one; the first is logged, later ones at most every `QUIET_SECONDS`."""
        total = self._ledger.add(HTTP_REFUSED, 1, (("endpoint", endpoint), ("reason", str(reason))))
        now = self._clock()
        with self._lock:
            at, before = self._logged.get((endpoint, reason), (now - QUIET_SECONDS, 0))
            if now - at < QUIET_SECONDS:
                return
            self._logged[endpoint, reason] = now, total
        self._logger.warning(
            "http %s: %s (%d since the last such line); further ones are counted, and logged every %d minutes",
            endpoint, _TEXTS[reason], total - before, QUIET_SECONDS // 60,
        )  # fmt: skip

    def count(self, endpoint: str, reason: HttpRefusal) -> int:
        """How many there were."""
        return self._ledger.counts(HTTP_REFUSED).get((("endpoint", endpoint), ("reason", str(reason))), 0)
