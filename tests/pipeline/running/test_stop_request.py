# SPDX-License-Identifier: Apache-2.0
"""Signals and components that stop the service, and those that must not."""

import os
import pty
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from waiting import until

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.errors import Mistake, ProbeError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.run import run_service
from ebpf_sidecar.pipeline.running.service import Service
from ebpf_sidecar.pipeline.running.stop_request import StartInterrupted, StopRequest

COMMAND = [sys.executable, "-c", "from ebpf_sidecar.pipeline.cli.main import main; main()"]
REPLAY = """
receivers: {replay: {}, replay/b: {}}
exporters: {debug: {verbosity: basic}, debug/b: {verbosity: basic}}
service: {pipelines: {metrics: {receivers: [replay, replay/b], exporters: [debug, debug/b]}}}
"""
TAKEN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def handlers():
    """Leave the signals' handlers as they were."""
    before = {number: signal.getsignal(number) for number in TAKEN}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_is_interrupted_and_a_running_service_gets_a_request(handlers, number):
    """Whoever waits for a compiler or a name server need not wait for its end."""
    starting, running = StopRequest(), StopRequest()
    starting.handle_signals()
    with pytest.raises(StartInterrupted):
        signal.raise_signal(number)
    running.handle_signals()
    running.starting = False
    signal.raise_signal(number)

    assert (True, True) == (starting.asked.is_set(), running.asked.is_set())


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_are_reported_once_and_end_nothing(handlers, number):
    """Their default action would kill the process."""
    request = StopRequest(terminal=lambda: False)
    request.handle_signals()
    signal.raise_signal(number)
    reported = [list(request.ignored()), list(request.ignored())]

    assert [1, 0] == list(map(len, reported))
    assert signal.Signals(number).name in reported[0][0]
    assert not request.asked.is_set()


def test_a_hang_up_asks_for_one_reload_however_often_it_arrives_meanwhile(handlers):
    """A unit with ``ExecReload=kill -HUP`` stops nothing; what arrives later may be about a later change."""
    request = StopRequest(terminal=lambda: False)
    request.handle_signals()
    for _ in range(3):
        signal.raise_signal(signal.SIGHUP)
    asked = [request.next_reload(0.0), request.next_reload(0.0)]
    signal.raise_signal(signal.SIGHUP)

    assert ["SIGHUP", None] == [each and each.why for each in asked]
    assert request.next_reload(0.0)
    assert not request.asked.is_set()


@pytest.mark.parametrize(
    ("started_with", "left", "nohup", "ends"),
    [(True, False, False, True), (True, True, False, False), (True, False, True, False), (False, False, False, False)],
)
def test_a_hang_up_ends_what_was_started_on_the_terminal_that_has_gone(handlers, started_with, left, nohup, ends):
    """Unless started with nohup; and never a service without a terminal."""
    there = iter([started_with, left])
    signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
    request = StopRequest(terminal=lambda: next(there))
    request.handle_signals()
    request.starting = False
    signal.raise_signal(signal.SIGHUP)

    assert ends == request.asked.is_set()


def test_the_first_request_sets_the_exit_code():
    """A signal afterwards, or another component, changes nothing."""
    request = StopRequest()
    request.ask(141)
    request.ask(0)

    assert 141 == request.exit_code


@pytest.mark.parametrize("kind", [ComponentKind.RECEIVER, ComponentKind.EXPORTER])
def test_the_service_ends_when_no_receiver_or_no_exporter_is_left(kind):
    """One that has finished is not enough while another works."""
    service = Service(load([InlineSource(REPLAY.encode(), "replay.yaml")], [], Plugins(), {}))
    asked = []
    for id_ in sorted(service.config.service.used(kind)):
        service._context(id_).finished(141)
        asked.append(service.stop_request.asked.is_set())

    assert ([False, True], 141) == (asked, service.stop_request.exit_code)


@pytest.fixture
def replaying(tmp_path):
    """A running service, and what it logs."""
    log, config = tmp_path / "log", tmp_path / "replay.yaml"
    config.write_text(REPLAY)
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "run", "-c", config], stdout=subprocess.DEVNULL, stderr=output)
    assert until(lambda: "ready" in log.read_text())
    yield process, log
    process.kill()
    process.wait()


def test_hang_up_and_user_signals_leave_the_service_running(replaying):
    """Each is a line in the log; SIGTERM then drains."""
    process, log = replaying
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        process.send_signal(number)

    assert until(lambda: all(name in log.read_text() for name in ("SIGHUP", "SIGUSR1", "SIGUSR2")))
    process.terminate()
    assert 0 == process.wait(20)
    assert "stopped" in log.read_text()


def test_a_request_to_reload_while_the_service_is_still_being_imported_ends_nothing(tmp_path):
    """A manager may send it as soon as the process is there."""
    log, config = tmp_path / "log", tmp_path / "replay.yaml"
    config.write_text(REPLAY)
    hang_up = "lambda event, given: os.kill(os.getpid(), signal.SIGHUP) if given[:1] == ('numpy',) else None"
    code = f"import os, signal, sys; sys.addaudithook({hang_up}); {COMMAND[2]}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", "-c", config], stdout=subprocess.DEVNULL, stderr=output
        )

    assert until(lambda: "SIGHUP: reading the configuration again" in log.read_text())
    process.terminate()
    assert 0 == process.wait(60), log.read_text()


class AllRights:
    """Privileges that were not dropped."""

    privileged = None

    def close(self):
        """Nothing."""


def test_a_signal_between_a_start_that_failed_and_the_next_ends_the_command(handlers, root_logger, monkeypatch):
    """``run --or-replay`` starts twice; a request in between counts, and the second service never starts."""
    config = load([InlineSource(REPLAY.encode(), "replay.yaml")], [], Plugins(), {})
    request, started = StopRequest(), []

    def fail(service):
        started.append(service)
        raise ProbeError("no eBPF")

    monkeypatch.setattr("ebpf_sidecar.pipeline.running.run.drop_privileges", lambda config: AllRights())
    monkeypatch.setattr(Service, "start", fail)
    with pytest.raises(ProbeError):
        run_service(config, request)
    signal.raise_signal(signal.SIGTERM)

    assert (0, 1) == (run_service(config, request), len(started))


class Interrupting(Mistake):
    """A warning during whose output the service is asked to stop."""

    def __str__(self):
        signal.raise_signal(signal.SIGTERM)
        return super().__str__()


def test_a_signal_while_warnings_are_logged_ends_the_start(handlers, root_logger, monkeypatch):
    """A log without a reader is slow."""
    config = load([InlineSource(REPLAY.encode(), "replay.yaml")], [], Plugins(), {})
    interrupting = Interrupting("", "a warning")
    monkeypatch.setattr("ebpf_sidecar.pipeline.running.run.drop_privileges", lambda config: AllRights())

    assert 0 == run_service(replace(config, warnings=(interrupting,)), StopRequest())


def test_closing_the_terminal_drains(tmp_path):
    """The kernel sends SIGHUP to what runs in its foreground."""
    log, config = tmp_path / "log", tmp_path / "replay.yaml"
    config.write_text(REPLAY)
    child, controller = pty.fork()
    if not child:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        os.execv(COMMAND[0], [*COMMAND, "run", "-c", str(config)])
    reading = threading.Thread(target=_read_all, args=(controller, log), daemon=True)
    reading.start()
    reading.join(60)
    os.close(controller)
    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status), log.read_text()
    assert "stopped" in log.read_text()


def _read_all(controller, log):
    """Until it is ready, so that the terminal never is full."""
    while not log.exists() or "ready" not in log.read_text():
        os.read(controller, 1000)
