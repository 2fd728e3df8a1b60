# SPDX-License-Identifier: Apache-2.0
"""The port of a gRPC server."""

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tls_files import FOLDER, SERVER

from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.grpc_listening import add_port
from ebpf_sidecar.pipeline.tls_settings import ServerTls


@pytest.fixture
def server():
    """A gRPC server without a service."""
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    yield server
    server.stop(None).wait()


@pytest.mark.parametrize("endpoint", [":0", "localhost:0", "127.0.0.1:0"])
@pytest.mark.parametrize("tls", [None, ServerTls(**SERVER)], ids=["plain", "tls"])
def test_every_form_of_an_endpoint_can_be_listened_on(server, endpoint, tls):
    """Also one without a host, which gRPC itself does not know."""
    port = add_port(server, endpoint, tls)
    server.start()

    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_a_port_in_use_is_named_with_advice(server):
    """By the system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SidecarError, match=f'cannot listen on "{endpoint}": address already in use; stop'):
            add_port(server, endpoint)


def test_a_wrong_key_is_found_before_anything_listens(server):
    """GRPC itself would start, and refuse every client."""
    with pytest.raises(SidecarError, match="cannot use the certificate and key"):
        add_port(server, "127.0.0.1:0", ServerTls(cert_file=SERVER["cert_file"], key_file=FOLDER / "client.key"))
