# SPDX-License-Identifier: Apache-2.0
"""Endpoints with TLS: for clients that speak it, with the certificates that they need."""

import http.client
import socket
import ssl
from contextlib import closing

import pytest
from http_requests import ANY, LARGE, answering, fetch
from tls_files import CLIENT, MUTUAL, SERVER, client_context
from waiting import until

from ebpf_sidecar.pipeline import SidecarError
from ebpf_sidecar.pipeline.host import Response
from ebpf_sidecar.pipeline.http.refusals import HttpRefusal
from ebpf_sidecar.pipeline.tls_settings import ServerTls

TLS = ServerTls(**SERVER)


def fetch_encrypted(servers, path, method="GET", body=None, *, context=None):
    """Status and body of the answer."""
    connection = http.client.HTTPSConnection(*servers.bound(ANY), timeout=10, context=context or client_context())
    with closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_large_requests_and_answers_pass(servers):
    """More than a record, and more than the socket takes at once."""
    servers.add(ANY, "/in", lambda request: Response(request.body), max_body=len(LARGE), tls=TLS)

    assert (200, LARGE) == fetch_encrypted(servers, "/in", "POST", LARGE)
    assert (200, b"x") == fetch_encrypted(servers, "/in", "POST", b"x")


def test_components_share_an_endpoint_only_with_the_same_tls(servers):
    """The server has one certificate."""
    servers.add(ANY, "/a", answering(b"a"), tls=TLS)
    servers.add(ANY, "/b", answering(b"b"), tls=ServerTls(**SERVER))
    for other in (None, ServerTls(**MUTUAL)):
        with pytest.raises(SidecarError, match=f'"{ANY}" has other TLS settings; give all components on it the same'):
            servers.add(ANY, "/c", answering(b"c"), tls=other)

    assert [b"a", b"b"] == [fetch_encrypted(servers, path)[1] for path in ("/a", "/b")]


def test_a_client_without_a_certificate_is_refused_where_one_is_needed(servers):
    """And one with it is served."""
    servers.add(ANY, "/a", answering(b"a"), tls=ServerTls(**MUTUAL))
    with pytest.raises((ssl.SSLError, OSError)):
        fetch_encrypted(servers, "/a")

    assert (200, b"a") == fetch_encrypted(servers, "/a", context=client_context(CLIENT))
    assert until(lambda: servers.refused(ANY, HttpRefusal.MALFORMED), 5)


def test_a_client_without_tls_is_dropped(servers):
    """Counted; others go on."""
    servers.add(ANY, "/a", answering(b"a"), tls=TLS)
    with pytest.raises((http.client.HTTPException, OSError)):
        fetch(servers, "/a")

    assert 1 == servers.refused(ANY, HttpRefusal.MALFORMED)
    assert (200, b"a") == fetch_encrypted(servers, "/a")


def test_a_client_that_never_shakes_hands_holds_nobody_up(servers):
    """It only holds its connection."""
    servers.add(ANY, "/a", answering(b"a"), tls=TLS)
    with closing(socket.create_connection(servers.bound(ANY))) as silent:
        silent.sendall(b"\x16\x03\x01")
        assert [(200, b"a")] * 20 == [fetch_encrypted(servers, "/a") for _ in range(20)]


def test_certificates_that_cannot_be_read_keep_the_endpoint_closed(servers, tmp_path):
    """The start fails with the reason, and the port stays free."""
    broken = ServerTls(cert_file=tmp_path / "none", key_file=tmp_path / "none")
    with pytest.raises(SidecarError, match="cannot use the certificate"):
        servers.add(ANY, "/a", answering(b"a"), tls=broken)
    with pytest.raises(KeyError):
        servers.bound(ANY)
