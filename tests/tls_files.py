# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, valid from 2020 to 2120: an authority, and a server (localhost, 127.0.0.1) and a client that
it knows. Nobody has the authority's key.
"""

import ssl
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "tls"
CA = FOLDER / "ca.pem"
SERVER = {"cert_file": FOLDER / "server.pem", "key_file": FOLDER / "server.key"}
MUTUAL = {**SERVER, "client_ca_file": CA}
CLIENT = (FOLDER / "client.pem", FOLDER / "client.key")


def client_context(certificate=None):
    """Trusts the authority; ``certificate``: shown to the server."""
    context = ssl.create_default_context(cafile=CA)
    if certificate:
        context.load_cert_chain(*certificate)
    return context
