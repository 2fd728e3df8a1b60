# SPDX-License-Identifier: Apache-2.0
"""TLS of a server: the settings that every component which listens with TLS has, with the Collector's names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SidecarError
from .settings import Settings

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class Certificates:
    """The contents of the files, as PEM text."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class ServerTls(Settings):
    """How a server proves who it is, and whether its clients have to. TLS 1.2 or later."""

    cert_file: Path
    """The server's certificate in PEM format, followed by those of intermediate authorities."""
    key_file: Path
    """The certificate's private key in PEM format, without a passphrase."""
    client_ca_file: Path | None = None
    """Certificates of the authorities that clients' certificates must come from (mTLS). Without it, clients need no
    certificate."""

    def context(self) -> ssl.SSLContext:
        """For sockets. Raises `SidecarError` if a file cannot be read or holds no certificate or key."""
        import ssl  # noqa: PLC0415 # 3 MB that most services never need

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # an encrypted key would be asked for in the terminal
            context.load_cert_chain(self.cert_file, self.key_file, password=lambda: b"")
        except (OSError, ValueError) as cause:
            files = f'"{self.cert_file}" and "{self.key_file}"'
            raise SidecarError(f"cannot use the certificate and key in {files}: {_reason(cause)}; {_ADVICE}") from cause
        if self.client_ca_file is not None:
            self._require_client_certificates(context, self.client_ca_file)
        return context

    def _require_client_certificates(self, context: ssl.SSLContext, file: Path) -> None:
        from ssl import CERT_REQUIRED  # noqa: PLC0415 # as above

        try:
            context.load_verify_locations(file)
        except (OSError, ValueError) as cause:
            raise SidecarError(f'cannot use the certificates in "{file}": {_reason(cause)}; {_ADVICE}') from cause
        context.verify_mode = CERT_REQUIRED

    def certificates(self) -> Certificates:
        """The files' contents, for libraries with a TLS of their own. Raises `SidecarError` as `context` does."""
        self.context()  # its errors name the reason
        ca = self.client_ca_file
        return Certificates(self.cert_file.read_bytes(), self.key_file.read_bytes(), ca.read_bytes() if ca else None)


_ADVICE = "give PEM files that this user may read"


def _reason(cause: Exception) -> str:
    if (reason := getattr(cause, "reason", None)) is not None:  # an SSLError
        return str(reason).lower().replace("_", " ")
    return str(getattr(cause, "strerror", None) or cause).lower()
