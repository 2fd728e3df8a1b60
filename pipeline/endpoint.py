# SPDX-License-Identifier: Apache-2.0
"""``host:port`` as users write it, and the listening socket."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from .errors import SidecarError

_ENDPOINT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]*)):(?P<port>\d{1,5})")
_PATH_CHARACTER = re.compile(r'[!"$->@-~]')  # no "?" and no "#": they end a path
_BACKLOG = 256


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host name or IP address (empty: all addresses of the machine) and a port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address in ``host:port``, ``:port`` or ``[ipv6]:port``. Raises ValueError with advice."""
        match = _ENDPOINT.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(
                f'"{text}" is not an endpoint; write "host:port", as in "127.0.0.1:18080" or "[::1]:18080"'
            )
        return cls(match["v6"] or match["host"], int(match["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def overlaps(self, other: Address) -> bool:
        """Whether only one of the two can be bound, as far as is known without name resolution."""
        if self.port != other.port or not self.port:
            return False
        one, two = _meant(self.host), _meant(other.host)
        return one == two or _covers(one, two) or _covers(two, one)

    def listen(self) -> socket.socket:
        """A listening socket. Raises `SidecarError` with the reason and advice."""
        try:
            sock = self._bind_all() if not self.host else self._bind_one()
        except OSError as cause:
            raise SidecarError(f'cannot listen on "{self}": {_reason(cause)}; {_repair(cause)}') from cause
        sock.listen(_BACKLOG)
        return sock

    def _bind_one(self) -> socket.socket:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # a name such as "localhost" may mean both: IPv4 first, as Go does
        family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        return _bound(socket.socket(family, kind, protocol), address)

    def _bind_all(self) -> socket.socket:
        """All addresses: IPv4, and IPv6 if the machine supports it."""
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        except OSError:
            return _bound(socket.socket(socket.AF_INET, socket.SOCK_STREAM), ("0.0.0.0", self.port))  # noqa: S104 # the user's ":port"
        return _bound(sock, ("::", self.port))


_Host = IPv4Address | IPv6Address | str


def _meant(host: str) -> _Host:
    """The address as the kernel sees it; IPv4 first if a name means both, as in `Address.listen`."""
    if host.lower() == "localhost":
        return IPv4Address("127.0.0.1")
    try:
        address = ip_address(host or "::")
    except ValueError:
        return host.lower()
    return getattr(address, "ipv4_mapped", None) or address


def _covers(one: _Host, other: _Host) -> bool:
    """Whether listening on ``one`` also occupies the port on ``other``: "::" includes IPv4."""
    if isinstance(one, str) or not one.is_unspecified:
        return False
    return one.version == 6 or not isinstance(other, IPv6Address)


def _bound(sock: socket.socket, address: Any) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _reason(cause: OSError) -> str:
    return (cause.strerror or str(cause)).lower()


def _repair(cause: OSError) -> str:
    if isinstance(cause, PermissionError):
        return (
            "choose a port above 1023, or grant CAP_NET_BIND_SERVICE and add NET_BIND_SERVICE to "
            "service::privileges::keep"
        )
    if isinstance(cause, socket.gaierror) or "assign" in _reason(cause):
        return "write an address of this machine, or leave the host out to listen on all of them"
    return "stop the program that uses it (ss -ltnp names it) or choose another port"


def _check(text: str) -> str:
    Address.parse(text)
    return text


@dataclass(frozen=True, slots=True)
class Listening:
    """The claim of a component that listens: see `Factory.claims`.

    ``path``: the path that it serves on the shared HTTP server of ``endpoint``; empty: it speaks another protocol and
    needs the port for itself. ``setting``: the keys of the setting that holds the endpoint.
    """

    endpoint: str
    path: str = ""
    setting: tuple[str, ...] = ("endpoint",)


Endpoint = Annotated[str, AfterValidator(_check)]
"""A setting for where to listen: ``host:port``, ``:port`` or ``[ipv6]:port``."""


def _check_path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f'"{text}" is not a path; start it with "/", as in "/metrics"')
    wrong = next((each for each in text if not _PATH_CHARACTER.fullmatch(each)), None)
    if wrong is not None:
        named = "a blank" if wrong == " " else f'"{wrong}"'
        raise ValueError(f'"{text}" holds {named}, which no path may; write letters, digits, "-", "_" and "/"')
    return text


_PATH_SCHEMA = {"type": "string", "pattern": f"^/{_PATH_CHARACTER.pattern}*$"}
UrlPath = Annotated[str, AfterValidator(_check_path), WithJsonSchema(_PATH_SCHEMA)]
"""A setting for the path under which something is served: plain ASCII, as in HTTP."""
