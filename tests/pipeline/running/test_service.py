# SPDX-License-Identifier: Apache-2.0
"""The service around the graph: its resource, its log, and its shutdown."""

import io
import json
import logging
import threading
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.run import _drain
from ebpf_sidecar.pipeline.running.service import Service, detect_resource
from ebpf_sidecar.pipeline.telemetry import logs
from ebpf_sidecar.pipeline.telemetry.ledger import RECEIVED

REPLAY = b"""
receivers: {replay: {speed: 100}}
processors: {container: {}, rate: {}}
exporters: {debug: {verbosity: basic}}
extensions: {health_check: {endpoint: "127.0.0.1:0"}}
service:
  extensions: [health_check]
  pipelines: {metrics: {receivers: [replay], processors: [container, rate], exporters: [debug]}}
"""


@pytest.fixture
def config():
    """A whole configuration that needs no rights."""
    return load([InlineSource(REPLAY, "replay.yaml")], [], Plugins(), {})


def test_a_service_starts_delivers_and_drains(config):
    """At the end received == sent, and the log shows what it did."""
    service = Service(config)
    service.start()
    deadline = threading.Event()
    while service.health.unready() and not deadline.wait(0.01):
        pass
    service.shutdown()
    counts = {name: value for name, _, value in service.ledger.snapshot()}
    prefix = "ebpf_sidecar."

    assert 0 < counts[prefix + "receiver.accepted_metric_points"]
    assert counts[prefix + "processor.outgoing_metric_points"] == counts[prefix + "exporter.sent_metric_points"]
    assert ["shutting down"] == service.health.unready()


def test_what_cannot_start_is_named_and_nothing_is_left_running(config, monkeypatch):
    """A component's refusal ends the start, and its name is on the error."""
    service = Service(config)
    exporter = next(iter(service.graph.exporters.values())).component

    def refuse():
        raise SidecarError("no luck; try another day")

    monkeypatch.setattr(exporter, "start", refuse, raising=False)
    with pytest.raises(SidecarError, match="no luck") as caught:
        service.start()

    assert "debug" == caught.value.component
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("exporter", "receiver"))]


@dataclass
class Hanging:
    """A component that does nothing until its event is set."""

    event: threading.Event

    def export(self, frames):
        self.event.wait(10)

    def start(self):
        pass

    def shutdown(self):
        self.event.wait(10)


def hang(service, part, event):
    """Put one that hangs into the place of an exporter's or an extension's component."""
    if part == "exporters":
        next(iter(service.graph.exporters.values())).component = Hanging(event)
    else:
        service.graph.extensions[next(iter(service.graph.extensions))] = Hanging(event)


@pytest.mark.parametrize(("part", "code"), [("exporters", 1), ("extensions", 0)])
def test_only_what_is_lost_ends_with_1_and_all_else_is_closed(config, part, code):
    """Whatever hangs, the bound holds and the servers are closed; an extension that hangs loses no data."""
    short = replace(config, service=replace(config.service, shutdown_timeout=0.5))
    service, release = Service(short), threading.Event()
    hang(service, part, release)
    service.start()
    endpoint = "127.0.0.1:0"
    until(lambda: sum(service.ledger.counts(RECEIVED).values()))
    ended = _drain(service)
    release.set()

    assert code == ended
    with pytest.raises(KeyError):
        service.servers.bound(endpoint)


def test_the_resource_is_ours_then_the_environments_then_the_files(monkeypatch):
    """Later ones win; nothing of the SDK's own gets in."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=n1,service.instance.id=from-env")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "storage")
    resource = detect_resource({"service.instance.id": "from-file"})

    assert ("storage", "n1", "from-file") == (
        resource["service.name"],
        resource["k8s.node.name"],
        resource["service.instance.id"],
    )
    assert "telemetry.sdk.name" not in resource


@given(
    st.dictionaries(
        st.sampled_from(["service.name", "service.namespace", "name", "host.name", "host.id", "k8s.pod.uid"]),
        st.text("ab=.%20", max_size=5),
    ),
    st.sampled_from(["", "storage"]),
)
def test_the_environment_changes_what_it_names_and_nothing_else(named, name):
    """Whole keys are compared: service.namespace is not service.name, and other keys keep our values."""
    written = ",".join(f"{key}={quote(value)}" for key, value in named.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", written)
        patch.setenv("OTEL_SERVICE_NAME", name)
        found = detect_resource({})
        patch.delenv("OTEL_RESOURCE_ATTRIBUTES")
        patch.delenv("OTEL_SERVICE_NAME")
        ours = detect_resource({})
    said = {key: value for key, value in named.items() if value} | ({"service.name": name} if name else {})

    assert ours | said == found


def test_without_environment_the_service_has_its_own_name(monkeypatch):
    """A user need not name it."""
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)

    assert "ebpf-sidecar" == detect_resource({})["service.name"]


@pytest.mark.parametrize("encoding", ["console", "json"])
def test_log_lines_have_time_level_and_message(root_logger, encoding):
    """A line for people, an object for machines; no colours without a terminal."""
    stream = io.StringIO()
    logs.configure("info", encoding, stream)
    logging.getLogger("x").warning("exporter prometheus: %s", "refused")
    logging.getLogger("x").debug("unseen")
    [line] = stream.getvalue().splitlines()

    if encoding == "json":
        assert ("warn", "exporter prometheus: refused") == (json.loads(line)["level"], json.loads(line)["msg"])
    else:
        assert line.endswith("Z warn  exporter prometheus: refused")


def test_a_traceback_is_kept_in_both_encodings(root_logger):
    """What went wrong inside is worth its lines."""
    for encoding in ("console", "json"):
        stream = io.StringIO()
        logs.configure("info", encoding, stream)
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger("x").exception("outside")

        assert "ValueError: inside" in stream.getvalue()


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


def test_warnings_are_coloured_on_a_terminal_unless_no_color_is_set(root_logger, monkeypatch):
    """https://no-color.org."""
    seen = []
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        stream = Terminal()
        logs.configure("info", "console", stream)
        logging.getLogger("x").warning("careful")
        seen.append("\x1b[33m" in stream.getvalue())

    assert [True, False] == seen
