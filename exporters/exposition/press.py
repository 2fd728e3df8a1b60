# SPDX-License-Identifier: Apache-2.0
"""A page kept between exports, so that many scrapers cost one rendering and one compression."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

from .page import Format

_LEVEL = 1  # ten times the speed of the default level for a page a fifth larger: label text repeats itself
_GZIP = 31  # zlib's wbits for a gzip header and trailer around the largest window


class Press:
    """The page in one format: a body that is kept and a tail that is new for every scrape. Not thread-safe."""

    def __init__(self, form: Format) -> None:
        self.format = form
        self._body: list[bytes] | None = None
        self._packed: bytes | None = None
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)

    def clear(self) -> None:
        """The body is out of date."""
        self._body = self._packed = None

    def plain(self, render: Callable[[Format], Iterable[bytes]], tail: bytes) -> bytes:
        """The page; ``render`` writes the body where none is kept."""
        return b"".join((*self._rendered(render), tail))

    def gzipped(self, render: Callable[[Format], Iterable[bytes]], tail: bytes) -> bytes:
        """The page as one gzip member: the compressor's state after the body is kept, and goes on with the tail."""
        if self._packed is None:
            self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            pieces = map(self._packer.compress, self._rendered(render))
            self._packed = b"".join(pieces) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        packer = self._packer.copy()
        return self._packed + packer.compress(tail) + packer.flush()

    def _rendered(self, render: Callable[[Format], Iterable[bytes]]) -> list[bytes]:
        if self._body is None:
            self._body = list(render(self.format))
        return self._body
