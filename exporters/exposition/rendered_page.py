# SPDX-License-Identifier: Apache-2.0
"""A page kept between exports, so that many scrapers cost one rendering, one compression and one copy in memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

from .page import Format

_LEVEL = 1  # ten times the speed of the default level for a page a fifth larger: label text repeats itself
_GZIP = 31  # zlib's wbits for a gzip header and trailer around the largest window
FRESH_SECONDS = 1.0
"""How long a whole page is served to all scrapers: slow ones then share one copy."""

Piece = bytes | memoryview


class RenderedPage:
    """The page in one format: a body that is kept until `clear`, and a newer tail. Not thread-safe.

    The body is kept as the start of the newest whole page, so that it is in memory only once.
    """

    def __init__(self, form: Format) -> None:
        self.format = form
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self.clear()

    def clear(self) -> None:
        """Discard the body, which is out of date."""
        self._whole: dict[bool, tuple[float, bytes]] = {}
        self._body_length = 0
        self._packed: bytes | None = None

    def fresh(self, now: float, *, packed: bool) -> bytes | None:
        """The whole page if one was rendered less than `FRESH_SECONDS` ago; ``packed``: as gzip."""
        made, page = self._whole.get(packed, (float("-inf"), None))
        return page if now - made < FRESH_SECONDS else None

    def page(
        self, render: Callable[[Format], Iterable[Piece]], tail: bytes, clock: Callable[[], float], *, packed: bool
    ) -> bytes:
        """A new page; ``render`` writes the body if none is kept. It is fresh from its completion on, so that it is
        shared even if rendering takes longer than it stays fresh."""
        page = self._gzipped(render, tail) if packed else self._plain(render, tail)
        self._whole[packed] = (clock(), page)
        return page

    def _plain(self, render: Callable[[Format], Iterable[Piece]], tail: bytes) -> bytes:
        page = b"".join((*self._body(render), tail))
        self._body_length = len(page) - len(tail)
        return page

    def _gzipped(self, render: Callable[[Format], Iterable[Piece]], tail: bytes) -> bytes:
        """One gzip member: the compressor's state after the body is kept, and a copy of it continues with the tail."""
        if self._packed is None:
            self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            self._packed = b"".join(map(self._packer.compress, self._body(render)))
            self._packed += self._packer.flush(zlib.Z_SYNC_FLUSH)
        packer = self._packer.copy()
        return self._packed + packer.compress(tail) + packer.flush()

    def _body(self, render: Callable[[Format], Iterable[Piece]]) -> Iterable[Piece]:
        if False not in self._whole:
            return render(self.format)
        return (memoryview(self._whole[False][1])[: self._body_length],)
