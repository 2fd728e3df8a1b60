# SPDX-License-Identifier: Apache-2.0
"""Requests to reload: what is read again, checked, refused, logged and answered."""

import io
import logging
import sys
import threading
from dataclasses import replace

import pytest
from waiting import until

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.config.rereading import ConfigReader
from ebpf_sidecar.pipeline.errors import ConfigError, Mistake, SidecarError
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.privileged import DirectOperations, RequiredPrivileges
from ebpf_sidecar.pipeline.running.privileges import ServicePrivileges
from ebpf_sidecar.pipeline.running.reload_request import ReloadRequest
from ebpf_sidecar.pipeline.running.reload_triggers import ConfigWatch, ReloadPage
from ebpf_sidecar.pipeline.running.reloader import Reloader
from ebpf_sidecar.pipeline.running.service import Service
from ebpf_sidecar.pipeline.running.stop_request import StartInterrupted
from ebpf_sidecar.pipeline.telemetry import logs
from ebpf_sidecar.pipeline.testing import FakeClock

PLUGINS = Plugins()
TEXT = """
receivers: {replay: {speed: 100}}
exporters: {debug: {verbosity: basic}}
service:
  telemetry: {logs: {level: LEVEL}}
  pipelines: {metrics: {receivers: [replay], exporters: [debug]}}
"""


@pytest.fixture
def reloading(tmp_path, root_logger, monkeypatch):
    """A service, its file, its log, and a function that reloads it."""
    file, clock, log = tmp_path / "config.yaml", FakeClock(), io.StringIO()
    file.write_text(TEXT.replace("LEVEL", "info"))
    reader = ConfigReader([file], [], PLUGINS, {"NAME": "value", "DB_PASSWORD": "s3cr3t-word"})
    service = Service(reader.read(), clock)
    logs.configure("info", "console", log)
    reloader = Reloader(service, ServicePrivileges(), reader.read, reader.changed)
    reloader.start()
    service.start()

    def reload(text):
        file.write_text(text)
        monkeypatch.setattr(sys, "stderr", log)  # here, as pytest replaces it after the setup
        request = ReloadRequest("a test")
        reloader.carry_out(request)
        assert request.done.is_set()
        return request

    yield service, clock, log, reload
    reloader.stop()
    service.shutdown()


def shown(service):
    """The metrics about the last reload: whether it succeeded, and when."""
    found = {name: value for name, _, value in service.ledger.snapshot() if ".config." in name}
    return tuple(found[f"ebpf_sidecar.config.last_reload_{each}"] for each in ("successful", "success_timestamp"))


def test_a_wrong_file_is_refused_with_all_its_mistakes_and_nothing_changes(reloading):
    """They are errors in the log, and the metric is 0 until a file is accepted."""
    service, clock, log, reload = reloading
    before = shown(service)
    clock.advance(60)
    request = reload(TEXT.replace("LEVEL", "loud").replace("speed", "sped"))
    refused = shown(service)
    clock.advance(60)
    reload(TEXT.replace("LEVEL", "info"))
    lines = [line.split(" ", 1)[1] for line in log.getvalue().splitlines() if " error " in line]

    assert isinstance(request.problem, ConfigError)
    assert 3 == len(lines)
    assert 'receivers::replay: unknown setting "sped"; did you mean "speed"?' in lines[0]
    assert "error not reloaded; the previous configuration runs on" == lines[2]
    assert [100.0] == [each.settings.speed for each in service.config.receivers.values()]
    assert (1.0, 0.0, 1.0) == (before[0], refused[0], shown(service)[0])
    assert (0.0, 120.0) == tuple(pytest.approx(each[1] - before[1]) for each in (refused, shown(service)))


def test_the_level_of_the_log_changes_with_the_file(reloading):
    """As the first setting that somebody changes while something is wrong."""
    *_, log, reload = reloading
    reload(TEXT.replace("LEVEL", "debug"))

    assert logging.DEBUG == logging.getLogger().level
    assert "reloaded; kept: exporter debug, receiver replay" in log.getvalue()


def test_what_is_kept_and_changed_is_told(reloading):
    """For each component."""
    *_, reload = reloading
    request = reload(TEXT.replace("LEVEL", "info").replace("basic", "normal"))

    assert None is request.problem
    assert "kept: receiver replay; changed: exporter debug" == request.summary


def test_secrets_that_are_new_are_not_logged(reloading):
    """From the moment at which they are known."""
    *_, log, reload = reloading
    logging.getLogger("x").warning("before s3cr3t-word")
    reload(TEXT.replace("LEVEL", "info").replace("telemetry: {", 'telemetry: {resource: {x: "${env:DB_PASSWORD}"}, '))
    logging.getLogger("x").warning("after s3cr3t-word")

    assert ["before s3cr3t-word", "after [REDACTED]"] == [
        line.split("warn  ")[1] for line in log.getvalue().splitlines() if "before" in line or "after" in line
    ]


def test_a_component_that_cannot_start_is_named(reloading, tmp_path):
    """In the answer as in the log."""
    service, _, log, reload = reloading
    request = reload(TEXT.replace("LEVEL", "info").replace("speed: 100", f"path: {tmp_path}/absent"))

    assert "replay" == request.problem.component
    assert "error replay: " in log.getvalue()
    assert ComponentId(ComponentKind.RECEIVER, "replay") in service.config.receivers


def test_a_bug_does_not_end_the_service(reloading, monkeypatch):
    """It is in the log with its traceback."""
    service, _, log, reload = reloading

    def broken(*_):
        raise ZeroDivisionError("no way")

    monkeypatch.setattr(service, "reload", broken)
    request = reload(TEXT.replace("LEVEL", "info"))

    assert "ZeroDivisionError: no way" == str(request.problem)
    assert "Traceback" in log.getvalue()


def test_a_stop_gives_up_a_reload(reloading):
    """And whoever waits for the answer is told so."""
    service, *_, reload = reloading
    service.stop_request.ask()
    with pytest.raises(StartInterrupted):
        reload(TEXT.replace("LEVEL", "info").replace("basic", "normal"))


def config(text):
    """What a text says."""
    return load([InlineSource(text.encode())], [], PLUGINS, {})


EBPF = config("""
receivers: {ebpf: {}}
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [ebpf], exporters: [debug]}}}
""")
REPLAY = config(TEXT.replace("LEVEL", "info"))
NEEDS = next(iter(EBPF.receivers.values())).factory.privileges


@pytest.mark.parametrize(
    ("privileges", "refused"),
    [
        (ServicePrivileges(), False),
        (ServicePrivileges(DirectOperations(), frozenset([NEEDS]), frozenset(["BPF"])), False),
        (ServicePrivileges(DirectOperations(), frozenset([RequiredPrivileges()]), frozenset(["BPF"])), True),
        (ServicePrivileges(DirectOperations(), frozenset([RequiredPrivileges()]), frozenset()), False),
    ],
    ids=["nothing dropped", "kept for it", "dropped", "never had them"],
)
def test_a_component_whose_privileges_are_gone_needs_a_restart(privileges, refused):
    """It would fail with a message about rights that the user has given."""
    found = [str(each) for each in privileges.refusals(REPLAY, EBPF)]

    assert (
        refused * ["receivers::ebpf: needs privileges that were dropped at the start; restart the service to use it"]
        == found
    )


def test_the_privileges_themselves_cannot_change():
    """What was dropped cannot be had again, and what was kept is known to components."""
    service = replace(
        REPLAY.service, privileges=REPLAY.service.privileges.model_copy(update={"keep": ("NET_BIND_SERVICE",)})
    )
    [mistake] = ServicePrivileges().refusals(REPLAY, replace(REPLAY, service=service))

    assert "service::privileges: cannot change while the service runs; restart it, or restore this section" == str(
        mistake
    )


POST = Request("POST", "/-/reload", {})


@pytest.mark.parametrize(
    ("problem", "status", "text"),
    [
        (None, 200, "reloaded; kept: receiver r\n"),
        (ConfigError([Mistake("a", "wrong"), Mistake("b", "wrong too")]), 400, "a: wrong\nb: wrong too\n"),
        (SidecarError("port in use", component="prometheus"), 500, "prometheus: port in use\n"),
    ],
)
def test_the_page_answers_with_what_became_of_it(problem, status, text):
    """200, or whose fault it is."""

    def ask(request):
        request.problem, request.summary = problem, "kept: receiver r"
        request.done.set()

    response = ReloadPage(ask, lambda: False).reload(POST)

    assert (status, text) == (response.status, response.body.decode())


def test_the_page_has_one_request_at_a_time_and_none_when_the_service_ends():
    """Requests that wait would occupy what answers all others."""
    asked, stopping = [], threading.Event()
    page = ReloadPage(asked.append, stopping.is_set)
    first = []
    thread = threading.Thread(target=lambda: first.append(page.reload(POST)))
    thread.start()
    assert until(lambda: asked, 5)
    second = page.reload(POST)
    stopping.set()
    thread.join(5)

    assert (503, "1", b"a reload is under way; try again\n") == (
        second.status,
        second.headers["Retry-After"],
        second.body,
    )
    assert (503, b"the service is stopping\n") == (first[0].status, first[0].body)
    assert 1 == len(asked)


def test_files_are_compared_at_each_interval_and_each_change_is_asked_about_once():
    """What was refused is tried again when it has changed again."""
    clock, changes, asked = FakeClock(), iter([False, True, False, True]), []

    def ask(request):
        asked.append(clock.monotonic())
        request.done.set()

    start = clock.monotonic()
    watch = ConfigWatch(lambda: next(changes), 10.0, clock, ask)
    watch.start()
    for _ in range(4):
        clock.until_waiting()
        clock.advance(10.0)
    clock.until_waiting()
    watch.stop()

    assert [20.0, 40.0] == [each - start for each in asked]
