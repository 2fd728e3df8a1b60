# SPDX-License-Identifier: Apache-2.0
"""Batches as OTLP requests: deltas made, buckets chosen, encoded, compressed."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_sidecar.exporters.otlp_encoding.encoder import Encoder
from ebpf_sidecar.exporters.otlp_encoding.request import RequestLimits
from ebpf_sidecar.pipeline.deltas import COUNTING, Deltas, without_empty
from ebpf_sidecar.pipeline.frame import Frame, Frames, Kind, points
from ebpf_sidecar.pipeline.histogram_bounds import chosen
from ebpf_sidecar.pipeline.payload import LeftOut, Payload

from .compression import ENCODING, Compressor
from .settings import OtlpSettings, Temporality

_DELTA_KINDS: dict[Temporality, tuple[Kind, ...]] = {
    "cumulative": (),
    "delta": COUNTING,
    "lowmemory": (Kind.HISTOGRAM,),
}


class Payloads:
    """Encodes batches, one at a time and in their order: deltas continue each other.

    ``since``: when the exporter was created, ns since the epoch. ``compressor``: None if the transport compresses, or
    nothing does.
    """

    def __init__(self, settings: OtlpSettings, since: int, compressor: Compressor | None = None) -> None:
        self._settings, self._compressor = settings, compressor
        self._deltas = Deltas(since, _DELTA_KINDS[settings.temporality])
        self._encoder = Encoder(RequestLimits(settings.max_request_size), settings.resource_attributes)

    def of(self, frames: Frames) -> Iterator[Payload | LeftOut]:
        """The payloads of a batch, and what is in none of them."""
        deltas, unknown = self._deltas.of(frames)
        yield LeftOut(unknown, "start_unknown", lost=True)
        kept = [without_empty(frame) for frame in deltas]
        yield LeftOut(points(deltas) - points(kept), "empty", lost=False)
        for body, number in self._encoder.requests([self._shown(frame) for frame in kept]):
            yield self._payload(body, number)

    def _shown(self, frame: Frame) -> Frame:
        return chosen(frame, self._settings.histogram_bounds)

    def _payload(self, body: bytes, number: int) -> Payload:
        if self._compressor is None:
            return Payload(body, number)
        return Payload(self._compressor.compress(body), number, {ENCODING: self._compressor.name})
