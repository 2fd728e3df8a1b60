# SPDX-License-Identifier: Apache-2.0
"""Opens the port of a gRPC server: endpoints as users write them, and errors that say what is wrong."""

from __future__ import annotations

from typing import Any

from .endpoint import Address
from .errors import SidecarError
from .tls_settings import ServerTls


def add_port(server: Any, endpoint: str, tls: ServerTls | None = None) -> int:
    """Let a ``grpc.Server`` listen on ``endpoint`` once it starts; returns the port.

    Raises `SidecarError` with the reason if the endpoint is not available or a file of ``tls`` cannot be used.
    """
    address = Address.parse(endpoint)
    if address.port:
        address.listen().close()  # its error gives the reason, gRPC's does not
    name = str(address) if address.host else f"[::]:{address.port}"  # gRPC knows no empty host
    try:
        if tls is None:
            return int(server.add_insecure_port(name))
        return int(server.add_secure_port(name, _credentials(tls)))
    except RuntimeError as cause:
        raise SidecarError(f'cannot listen on "{endpoint}"; choose a free endpoint') from cause


def _credentials(tls: ServerTls) -> Any:
    import grpc  # noqa: PLC0415 # most services never load it

    pem = tls.certificates()
    return grpc.ssl_server_credentials([(pem.key, pem.certificate)], pem.client_ca, pem.client_ca is not None)
