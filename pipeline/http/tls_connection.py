# SPDX-License-Identifier: Apache-2.0
"""A connection with TLS: the handshake and the records happen inside the reads and writes that waitress makes.

Waitress never reads and writes one connection at the same time, which OpenSSL would not allow.
"""

from __future__ import annotations

import ssl

from .connection import Connection
from .refusals import HttpRefusal

_RECORD = 16 << 10  # the largest one: OpenSSL keeps nothing back that poll(2) would not report


class TlsConnection(Connection):
    """A channel whose socket is an `ssl.SSLSocket`."""

    def handle_read(self) -> None:
        """Called by waitress when something has arrived: a part of the handshake, or data."""
        try:
            data = self.recv(_RECORD)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except ssl.SSLError:  # no TLS, or no certificate that is accepted
            self.server.refuse(HttpRefusal.MALFORMED)
            self.handle_close()
            return
        except OSError:
            self.handle_close()
            return
        if data:
            self.received(data)

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002 # waitress' own signature
        """Send as much as the socket accepts."""
        try:
            return super().send(data, do_close=do_close)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
