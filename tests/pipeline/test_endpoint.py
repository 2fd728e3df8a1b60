# SPDX-License-Identifier: Apache-2.0
"""Endpoints are read as users write them, and what cannot be listened on is explained."""

import socket

import pytest
from pydantic import ValidationError

from ebpf_sidecar.pipeline import SidecarError
from ebpf_sidecar.pipeline.endpoint import Address, UrlPath
from ebpf_sidecar.pipeline.settings import Settings


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:18080", "127.0.0.1", 18080),
        (":18080", "", 18080),
        ("[::1]:0", "::1", 0),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        ("my-host.example:80", "my-host.example", 80),
    ],
)
def test_an_endpoint_is_host_and_port(text, host, port):
    """The forms that the Collector takes; each is written back as it came."""
    address = Address.parse(text)

    assert (host, port) == (address.host, address.port)
    assert text == str(address)


@pytest.mark.parametrize("text", ["", "localhost", "18080", "::1:80", "host:port", "host:70000", "a b:1", "http://x:1"])
def test_what_is_no_endpoint_is_refused_with_the_repair(text):
    """The user's word is quoted, and the form is shown."""
    with pytest.raises(ValueError, match='is not an endpoint; write "host:port"') as refused:
        Address.parse(text)

    assert f'"{text}"' in str(refused.value)


class Served(Settings):
    path: UrlPath = "/"


@pytest.mark.parametrize("path", ["/", "/metrics", "/a/b-c_d.e~f", "/%20"])
def test_a_path_is_plain_characters(path):
    """Others are written with percent signs."""
    assert path == Served(path=path).path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("metrics", '"metrics" is not a path; start it with "/"'),
        ("", '"" is not a path; start it with "/"'),
        ("/mé trics", '"/mé trics" holds "é", which no path may; write letters, digits'),
        ("/a b", '"/a b" holds a blank, which no path may'),
        ("/a?b", '"/a\\?b" holds "\\?", which no path may'),
        ("/a#b", '"/a#b" holds "#", which no path may'),
    ],
)
def test_what_is_no_path_is_refused_in_words_for_people(path, message):
    """No pattern is shown."""
    with pytest.raises(ValidationError, match=message):
        Served(path=path)


def test_a_port_in_use_is_named_with_the_repair():
    """The message has the endpoint as the user wrote it."""
    with Address("127.0.0.1", 0).listen() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SidecarError) as refused:
            Address("127.0.0.1", port).listen()

    assert (
        f'cannot listen on "127.0.0.1:{port}": address already in use; '
        "stop the program that uses it (ss -ltnp names it) or choose another port"
    ) == str(refused.value)


def test_an_address_of_another_machine_is_refused():
    """TEST-NET-1 is never assigned."""
    with pytest.raises(SidecarError, match="cannot assign requested address; write an address of this machine"):
        Address("192.0.2.1", 0).listen()


def test_no_host_means_all_addresses():
    """A client reaches it by IPv4."""
    with Address("", 0).listen() as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            assert client.getpeername()[1] == port
