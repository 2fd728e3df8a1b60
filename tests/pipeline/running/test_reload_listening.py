# SPDX-License-Identifier: Apache-2.0
"""A receiver that listens is replaced on its own ports, while clients send."""

import http.client
import socket
import threading
from contextlib import ExitStack

from otlp_receiving import PATH, PROTOBUF, counted
from reloaded import retired
from waiting import until

from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.service import Service
from ebpf_sidecar.pipeline.telemetry.ledger import RECEIVED, SENT

TEXT = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}", {more}}}}}}}
exporters: {{debug: {{verbosity: basic}}}}
service: {{pipelines: {{metrics: {{receivers: [otlp], exporters: [debug]}}}}}}
"""
PLUGINS = Plugins()


def free_ports():
    """Two that are free, by protocol."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        return dict(zip(("grpc", "http"), (server.getsockname()[1] for server in servers), strict=True))


class Client(threading.Thread):
    """Sends requests of one point until it is told to stop, each once: ``answered`` 200, ``failed`` otherwise."""

    def __init__(self, port):
        super().__init__()
        self.port, self.over = port, threading.Event()
        self.answered = self.failed = 0

    def run(self):
        body = counted().SerializeToString()
        while not self.over.wait(0.002):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("POST", PATH, body, {"Content-Type": PROTOBUF})
                taken = connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                taken = False
            finally:
                connection.close()
            self.answered, self.failed = self.answered + taken, self.failed + (not taken)


def test_what_was_acknowledged_has_arrived(full_length):
    """Whichever of the two receivers has answered; there is never more than one on a port."""
    ports = free_ports()

    def config(number):
        text = TEXT.format(**ports, more=f"max_request_body_size: {1 + number % 2}MiB")
        return load([InlineSource(text.encode())], [], PLUGINS, {})

    service = Service(config(0))
    service.start()
    client = Client(ports["http"])
    client.start()
    for number in range(1, 41 if full_length else 9):
        changed = service.reload(config(number))
        assert ["receiver otlp"] == [str(key) for key in changed.first]
        retired(service)
        assert until(lambda answers=client.answered + 2: client.answered > answers, 10)
    client.over.set()
    client.join()
    service.shutdown()
    received, sent = (sum(service.ledger.counts(each).values()) for each in (RECEIVED, SENT))

    assert client.answered > 20
    assert client.answered <= received <= client.answered + client.failed
    assert received == sent
