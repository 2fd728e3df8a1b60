# SPDX-License-Identifier: Apache-2.0
"""A page kept between exports, so that many scrapers cost one rendering, one compression and one copy in memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

from .page import Format

_LEVEL = 1  # ten times the speed of the default level for a page a fifth larger: label text repeats itself
_GZIP = 31  # zlib's wbits for a gzip header and trailer around the largest window
FRESH_SECONDS = 1.0
"""How long a whole page is given to every scraper that comes: slow ones then hold the same one, not each their own."""


class Press:
    """The page in one format: a body that is kept until `clear`, and a tail that is newer. Not thread-safe."""

    def __init__(self, form: Format) -> None:
        self.format = form
        self._body: list[bytes] | None = None
        self._packed: bytes | None = None
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._whole: dict[bool, tuple[float, bytes]] = {}

    def clear(self) -> None:
        """The body is out of date."""
        self._body = self._packed = None
        self._whole.clear()

    def fresh(self, now: float, *, packed: bool) -> bytes | None:
        """The whole page where one was made less than `FRESH_SECONDS` ago; ``packed``: as gzip."""
        made, page = self._whole.get(packed, (float("-inf"), None))
        return page if now - made < FRESH_SECONDS else None

    def page(self, render: Callable[[Format], Iterable[bytes]], tail: bytes, now: float, *, packed: bool) -> bytes:
        """A new page; ``render`` writes the body where none is kept."""
        page = self._gzipped(render, tail) if packed else b"".join((*self._rendered(render), tail))
        self._whole[packed] = (now, page)
        return page

    def _gzipped(self, render: Callable[[Format], Iterable[bytes]], tail: bytes) -> bytes:
        """One gzip member: the compressor's state after the body is kept, and a copy of it goes on with the tail."""
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
