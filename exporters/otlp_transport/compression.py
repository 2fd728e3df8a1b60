# SPDX-License-Identifier: Apache-2.0
"""Compressed bodies of HTTP requests."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ebpf_sidecar.pipeline.errors import SidecarError

ENCODING = "content-encoding"
"""The header that names the compression, and the key of a payload's note that keeps it for a retry."""
_GZIP_LEVEL = 6  # more costs twice the time for a hundredth of the size
Compress = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Compressor:
    """``name``: as the header says it."""

    name: str
    compress: Compress


def compressor(name: str) -> Compressor | None:
    """The compression of that name, None for ``none``. Raises `SidecarError` if a package is missing."""
    known: dict[str, Compress] = {
        "gzip": lambda body: gzip.compress(body, _GZIP_LEVEL, mtime=0),
        "deflate": zlib.compress,  # HTTP's "deflate" is zlib's format (RFC 9110, 8.4.1.2)
    }
    compress = _zstd() if name == "zstd" else known.get(name)
    return Compressor(name, compress) if compress else None


def _zstd() -> Compress:
    try:
        import zstandard  # noqa: PLC0415 # most services never load it
    except ImportError as cause:
        raise SidecarError("zstandard is not installed; run: pip install 'ebpf-sidecar[zstd]'") from cause
    compress: Any = zstandard.ZstdCompressor().compress
    return compress  # type: ignore[no-any-return] # bytes
