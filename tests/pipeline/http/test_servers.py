# SPDX-License-Identifier: Apache-2.0
"""The HTTP servers answer by path and method, and share endpoints."""

import http.client
import logging
import socket

import pytest
from http_requests import ANY, answering, fetch

from ebpf_sidecar.pipeline import SidecarError
from ebpf_sidecar.pipeline.host import Response
from ebpf_sidecar.pipeline.http.refusals import HttpRefusal
from ebpf_sidecar.pipeline.http.servers import HttpServers


def test_components_share_a_server_by_naming_the_same_endpoint(servers):
    """Two paths, one port."""
    servers.add(ANY, "/metrics", answering(b"m"))
    port = servers.bound(ANY)[1]
    servers.add(ANY, "/health", answering(b"h"))

    assert (b"m", b"h", port) == (fetch(servers)[2], fetch(servers, "/health")[2], servers.bound(ANY)[1])


def test_the_port_that_the_kernel_chose_is_logged(caplog):
    """For an endpoint with port 0, before the start and after; for others there is nothing to say."""
    caplog.set_level(logging.INFO)
    servers = HttpServers()
    servers.add(ANY, "/a", answering(b"a"))
    servers.start()
    servers.add("localhost:0", "/b", answering(b"b"))
    ports = [servers.bound(endpoint)[1] for endpoint in (ANY, "localhost:0")]
    servers.shutdown()

    assert [f'"{ANY}" is served on port {ports[0]}', f'"localhost:0" is served on port {ports[1]}'] == [
        message for message in caplog.messages if "port" in message
    ]


def test_paths_added_before_start_are_served_from_then_on():
    """Nothing listens before."""
    servers = HttpServers()
    servers.add(ANY, "/metrics", answering(b"m"))
    with pytest.raises(KeyError):
        servers.bound(ANY)
    servers.start()
    answer = fetch(servers)
    servers.shutdown()

    assert b"m" == answer[2]


def test_a_handler_sees_method_headers_and_query(servers):
    """Header names are in lower case."""
    seen = []
    servers.add(ANY, "/metrics", lambda request: seen.append(request) or Response(b""))
    host, port = servers.bound(ANY)
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/metrics?a=1&b=x%20y", headers={"X-Scrape-Timeout": "3"})
    connection.getresponse().read()
    connection.close()

    [request] = seen
    assert ("GET", "/metrics", {"a": "1", "b": "x y"}) == (request.method, request.path, request.query)
    assert "3" == request.headers["x-scrape-timeout"]


def test_head_has_the_headers_of_get_and_no_body(servers):
    """The length is the one that GET would have."""
    servers.add(ANY, "/metrics", answering(b"12345"))
    status, headers, body = fetch(servers, method="HEAD")

    assert (200, "5", b"") == (status, headers["Content-Length"], body)


def test_an_unknown_path_is_answered_with_the_known_ones(servers):
    """404 helps a person who mistyped."""
    servers.add(ANY, "/metrics", answering(b""))
    servers.add(ANY, "/health", answering(b""))
    status, _, body = fetch(servers, "/metrcs")

    assert (404, b'"/metrcs" is not served here; these are: /health /metrics\n') == (status, body)


def test_the_root_lists_what_is_served(servers):
    """Unless a component serves it itself."""
    servers.add(ANY, "/metrics", answering(b""))
    index = fetch(servers, "/")
    servers.add(ANY, "/", answering(b"mine"))

    assert (200, b"ebpf-sidecar: /metrics\n") == (index[0], index[2])
    assert b"mine" == fetch(servers, "/")[2]


def test_other_methods_are_refused(servers):
    """405 names those that are allowed."""
    servers.add(ANY, "/metrics", answering(b""))
    status, headers, _ = fetch(servers, method="POST", body=b"small")

    assert (405, "GET, HEAD") == (status, headers["Allow"])


def test_a_large_request_body_is_refused(servers):
    """413, without reading it to the end."""
    servers.add(ANY, "/metrics", answering(b""))
    with socket.create_connection(servers.bound(ANY), timeout=10) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 2000)

        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_failing_handler_is_answered_with_500_and_logged_once(servers, caplog):
    """Counting continues; other paths are served."""

    def fail(request):
        raise LookupError("our mistake")

    servers.add(ANY, "/metrics", fail)
    servers.add(ANY, "/health", answering(b"ok"))
    with caplog.at_level(logging.ERROR):
        answers = [fetch(servers) for _ in range(3)]

    assert [500, 500, 500] == [status for status, _, _ in answers]
    assert b"our mistake" not in answers[0][2]
    assert ['answering "/metrics" failed; further failures are only counted'] == [r.message for r in caplog.records]
    assert {"/metrics": 3} == servers.failures(ANY)
    assert b"ok" == fetch(servers, "/health")[2]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"G\xff\0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_counted_and_logged_once(servers, caplog, request_):
    """400, however often it comes."""
    servers.add(ANY, "/", answering(b""))
    answers = []
    for _ in range(10):
        with socket.create_connection(servers.bound(ANY), timeout=10) as client:
            client.sendall(request_)
            answers.append(client.recv(100))

    assert {b" 400 Bad Request"} == {answer.partition(b"\r\n")[0].removeprefix(answer[:8]) for answer in answers}
    assert 10 == servers.refused(ANY, HttpRefusal.MALFORMED)
    assert 1 == len(caplog.records)


def test_an_invalid_status_is_a_failure_of_its_handler(servers):
    """500 and one line, as for an exception."""
    servers.add(ANY, "/metrics", lambda request: Response(b"", 999))

    assert [500, 500] == [fetch(servers)[0], fetch(servers)[0]]
    assert {"/metrics": 2} == servers.failures(ANY)


def test_a_taken_path_is_refused(servers):
    """Two exporters cannot have the same page."""
    servers.add(ANY, "/metrics", answering(b""))

    with pytest.raises(SidecarError, match=r'"/metrics" on "127\.0\.0\.1:0" is taken; choose another path'):
        servers.add(ANY, "/metrics", answering(b""))


def test_what_is_no_endpoint_is_refused(servers):
    """As the settings do."""
    with pytest.raises(SidecarError, match='"nowhere" is not an endpoint'):
        servers.add("nowhere", "/", answering(b""))


def test_a_port_in_use_stops_the_start_and_closes_what_was_opened():
    """Nothing is left listening, and the message names the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        servers = HttpServers()
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        servers.add(ANY, "/", answering(b""))
        servers.add(endpoint, "/", answering(b""))
        with pytest.raises(SidecarError, match=f'cannot listen on "{endpoint}": address already in use'):
            servers.start()

    with pytest.raises(KeyError):
        servers.bound(ANY)


def test_the_last_path_removed_closes_the_server(servers):
    """The port is free for others."""
    servers.add(ANY, "/a", answering(b""))
    servers.add(ANY, "/b", answering(b""))
    address = servers.bound(ANY)
    servers.remove(ANY, "/a")
    status = fetch(servers, "/a")[0]
    servers.remove(ANY, "/b")
    servers.remove(ANY, "/b")

    assert 404 == status
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_servers_can_be_started_again_after_shutdown(servers):
    """The paths stayed."""
    servers.add(ANY, "/metrics", answering(b"again"))
    servers.shutdown()
    servers.shutdown()
    servers.start()

    assert b"again" == fetch(servers)[2]
