# SPDX-License-Identifier: Apache-2.0
"""Reloads of senders whose queues are on disk: one owner at a time, and every point is accounted for once."""

import threading

import pytest
from otlp_servers import http_server
from reloaded import retired
from waiting import until

from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.service import Service
from ebpf_sidecar.pipeline.telemetry.ledger import (
    ENQUEUE_FAILED,
    QUEUED,
    RECEIVED,
    RESTORED,
    SEND_FAILED,
    SENT,
    UNACCOUNTED,
)

TEXT = """
receivers: {{replay: {{collection_interval: 50ms}}}}
exporters:
  otlphttp:
    endpoint: "http://127.0.0.1:{port}"
    sending_queue: {{storage: file_storage}}
    retry_on_failure: {{initial_interval: 10ms, max_interval: {longest}, max_elapsed_time: 0s}}
  debug: {{verbosity: basic}}
extensions: {{file_storage: {{directory: {folder}, max_size: {size}}}}}
service:
  extensions: [file_storage]
  pipelines: {{metrics: {{receivers: [replay], exporters: [{exporters}]}}}}
"""
PLUGINS = Plugins()


@pytest.fixture
def reloading(tmp_path):
    """A service that cannot deliver at first, and a function that reloads it."""

    def config(port=9, longest="50ms", size="4MiB", exporters="debug, otlphttp"):
        text = TEXT.format(port=port, longest=longest, size=size, exporters=exporters, folder=tmp_path)
        return load([InlineSource(text.encode())], [], PLUGINS, {})

    service = Service(config())
    service.start()
    yield service, lambda **written: (service.reload(config(**written)), retired(service))
    service.shutdown()


def total(service, instrument):
    """A counter or gauge of the sender or of the receiver."""
    found = {**service.ledger.counts(instrument), **service.ledger.read(instrument)}
    return sum(value for attributes, value in found.items() if attributes[0][1] in ("otlphttp", "replay"))


def settled(service):
    """Points of the sender that are accounted for."""
    return sum(total(service, each) for each in (SENT, SEND_FAILED, ENQUEUE_FAILED, QUEUED))


def test_what_waits_on_disk_is_taken_over_by_the_successor(reloading):
    """Whether the sender, its storage or both have changed; nothing is lost, doubled, or counted as restored."""
    service, reload = reloading
    assert until(lambda: total(service, QUEUED) > 1000, 10)
    reload(longest="60ms")
    reload(longest="60ms", size="5MiB")
    waiting = total(service, QUEUED)
    with http_server() as server:
        reload(port=server.port, size="6MiB")
        assert until(lambda: total(service, SENT) > waiting, 20)
        service.graph.receivers[0].shutdown()
        assert until(lambda: total(service, QUEUED) == 0, 20)
        ledger = {each.name: total(service, each) for each in (RECEIVED, SENT, RESTORED)}

    assert waiting > 1000
    assert 0 == ledger[RESTORED.name] == total(service, ENQUEUE_FAILED) == total(service, SEND_FAILED)
    assert ledger[RECEIVED.name] == ledger[SENT.name] == settled(service)


def test_a_sender_that_comes_back_finds_what_it_left(reloading):
    """Meanwhile the data goes elsewhere, and waits for nobody."""
    service, reload = reloading
    assert until(lambda: total(service, QUEUED) > 1000, 10)
    reload(exporters="debug")
    gone = total(service, QUEUED)
    with http_server() as server:
        reload(port=server.port)
        assert until(lambda: total(service, SENT) > 1000 and total(service, QUEUED) < 1000, 20)

    assert 0 == gone == total(service, RESTORED) == total(service, ENQUEUE_FAILED)


def test_the_ledger_closes_at_every_moment_of_a_reload(reloading):
    """Also while a predecessor drains, leaves points on disk, and its successor finds them there."""
    service, reload = reloading
    seen, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            seen.update(service.ledger.read(UNACCOUNTED).values())
            seen.update(balance.difference for balance in service.ledger.balances().values())

    watching = threading.Thread(target=watch)
    watching.start()
    with http_server() as server:
        for longest in ("51ms", "52ms", "53ms"):
            reload(longest=longest)
            reload(longest=longest, port=server.port)
    done.set()
    watching.join()

    assert {0} == seen
    assert {"otlphttp", "debug"} == {name for [(_, name)] in service.ledger.balances()}
