# SPDX-License-Identifier: Apache-2.0
"""Decompresses request bodies, but never to more than their limit, whatever a client has sent."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

_GZIP, _ZLIB = zlib.MAX_WBITS | 16, zlib.MAX_WBITS
_ZSTD_WINDOW = 8 << 20  # as RFC 8878 recommends to support
_ZSTD_STEP = 256
_INCOMPLETE = "the compressed body is not complete"


class TooLargeError(Exception):
    """A body is larger than its limit."""


class EncodingError(Exception):
    """A body is not what its Content-Encoding says; ``known`` is false if that encoding is not supported."""

    def __init__(self, message: str, *, known: bool = True) -> None:
        super().__init__(message)
        self.known = known


def decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """The content of a body with a Content-Encoding. Raises `TooLargeError` and `EncodingError`."""
    match encoding.strip().lower():
        case "" | "identity":
            content = body
        case "gzip":
            content = _inflated(body, _GZIP, most)
        case "deflate":
            content = _inflated(body, _ZLIB, most)
        case "zstd":
            content = _zstd(body, most)
        case _:
            known = "none, gzip, deflate and zstd are"
            raise EncodingError(f'Content-Encoding "{encoding[:40]}" is not supported; {known}', known=False)
    if len(content) > most:
        raise TooLargeError
    return content


def _inflated(body: bytes, form: int, most: int) -> bytes:
    content = b""
    while True:  # a gzip file may have several members
        stream = zlib.decompressobj(form)
        try:
            content += stream.decompress(body, most + 1 - len(content))
        except zlib.error as cause:
            raise EncodingError(f"the body cannot be decompressed: {cause}") from cause
        if len(content) > most:
            return content
        if not stream.eof:
            raise EncodingError(_INCOMPLETE)
        body = stream.unused_data
        if not body:
            return content


def _zstd(body: bytes, most: int) -> bytes:
    try:
        import zstandard  # noqa: PLC0415 # an optional dependency
    except ImportError as cause:
        advice = "run: pip install 'ebpf-sidecar[zstd]', or use gzip"
        raise EncodingError(f"zstd is not installed here; {advice}", known=False) from cause
    content = b""
    try:
        for part in _zstd_parts(zstandard, body):
            content += part
            if len(content) > most:
                return content
    except zstandard.ZstdError as cause:
        raise EncodingError(f"the body cannot be decompressed: {cause}") from cause
    return content


def _zstd_parts(zstandard: Any, body: bytes) -> Iterator[bytes]:
    """The content, piece by piece: a few bytes may become 128 KiB, and only the reader knows when it is too much."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    stream = decompressor.decompressobj()
    for start in range(0, len(body), _ZSTD_STEP):
        piece = body[start : start + _ZSTD_STEP]
        while piece:
            if stream.eof:
                stream = decompressor.decompressobj()  # the next frame
            yield stream.decompress(piece)
            piece = stream.unused_data
    if not stream.eof:
        raise EncodingError(_INCOMPLETE)
