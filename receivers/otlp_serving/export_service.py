# SPDX-License-Identifier: Apache-2.0
"""The metrics service of OTLP: a request is accepted once the pipelines have taken what is in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ebpf_sidecar.pipeline.component import Consumer
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import Decoded, RequestDecoder

from .answers import Answer, Code
from .metrics import ABSENT, EXEMPLARS

_RETRY_SECONDS = 1.0
"""When to try again if nobody says."""
_STOPPING = Answer(Code.UNAVAILABLE, "the receiver is shutting down", _RETRY_SECONDS)


@dataclass(slots=True)
class _LeftOut:
    """Of accepted requests: what frames have no place for."""

    exemplars: int = 0
    absent: int = 0


class ExportService:
    """Takes requests from any thread until it is closed."""

    def __init__(self, context: Context, consumer: Consumer) -> None:
        self._telemetry, self._consumer = context.telemetry, consumer
        self._decoder, self._decoding = RequestDecoder(context.clock), threading.Lock()
        self._idle, self._open, self._busy = threading.Condition(), True, 0
        self._left_out = _LeftOut()
        context.telemetry.count(*EXEMPLARS.instrument, lambda: self._left_out.exemplars)
        context.telemetry.count(*ABSENT.instrument, lambda: self._left_out.absent)

    def export(self, body: bytes) -> Answer:
        """The answer to a serialized ``ExportMetricsServiceRequest``."""
        with self._request() as accepted:
            return self._export(body) if accepted else _STOPPING

    def close(self, seconds: float) -> None:
        """Refuse new requests, and wait for those that are being processed, but no longer than that."""
        with self._idle:
            self._open = False
            self._idle.wait_for(lambda: not self._busy, seconds)

    @contextmanager
    def _request(self) -> Iterator[bool]:
        with self._idle:
            accepted = self._open
            self._busy += accepted
        try:
            yield accepted
        finally:
            with self._idle:
                self._busy -= accepted
                self._idle.notify_all()

    def _export(self, body: bytes) -> Answer:
        try:
            with self._decoding:
                decoded = self._decoder.decode(body)
        except (DecodeError, UnicodeDecodeError) as problem:
            self._telemetry.error("receiving", f"a request cannot be decoded: {problem}")
            return Answer(Code.INVALID_ARGUMENT, f"not an ExportMetricsServiceRequest: {problem}")
        refusal = self._consumer(decoded.frames) if decoded.frames else None
        if refusal is not None:
            retry_after = refusal.retry_after or _RETRY_SECONDS
            return Answer(Code.UNAVAILABLE, f"refused for now: {refusal.reason}", retry_after)
        self._account(decoded)
        return Answer(rejected=decoded.rejected)

    def _account(self, decoded: Decoded) -> None:
        """Only here, because a refused request comes again."""
        for reason, number in decoded.dropped.items():
            self._telemetry.dropped(number, reason)
        with self._idle:
            self._left_out.exemplars += decoded.exemplars
            self._left_out.absent += decoded.absent
