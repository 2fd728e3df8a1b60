# SPDX-License-Identifier: Apache-2.0
"""HTTP handlers and a client for them; shared by several test files."""

import http.client

from ebpf_sidecar.pipeline.host import Response

ANY = "127.0.0.1:0"
LARGE = b"x" * 20_000_000


def fetch(servers, path="/metrics", method="GET", body=None, endpoint=ANY, *, headers=None):
    """Status, headers and body of the answer."""
    connection = http.client.HTTPConnection(*servers.bound(endpoint), timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def answering(text):
    """A handler that always answers the same."""
    return lambda request: Response(text)
