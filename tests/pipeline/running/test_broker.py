# SPDX-License-Identifier: Apache-2.0
"""The privilege broker runs the modules named at its start, and nothing else; it ends with its service."""

import errno
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.privileged import DirectOperations
from ebpf_sidecar.pipeline.process.capabilities import capability_sets
from ebpf_sidecar.pipeline.running.broker import BrokerClient
from ebpf_sidecar.pipeline.running.privileges import ServicePrivileges
from ebpf_sidecar.pipeline.telemetry.ledger import ERRORS, Ledger

ZEN = "this"
"""A module of the standard library that prints something and ends."""
PYTHON = str(Path("/proc/self/exe").readlink())


@pytest.fixture
def broker():
    """A broker that may run two modules."""
    broker = BrokerClient([ZEN, "code"], [])
    yield broker
    broker.close()


@contextmanager
def streams():
    """A socket for the task and its other end, and a log."""
    ours, theirs = socket.socketpair()
    with ours, theirs, os.fdopen(os.memfd_create("log"), "w+b") as log:
        yield ours, theirs, log


@pytest.mark.parametrize("own", [False, True])
def test_a_module_is_run_and_its_exit_status_returned(broker, own):
    """By the broker and without one alike; its output goes to the log."""
    with streams() as (_, theirs, log):
        task = (DirectOperations() if own else broker).run(ZEN, theirs.fileno(), log.fileno())

        assert 0 == task.wait(20)
        log.seek(0)
        assert b"Zen of Python" in log.read()
        task.end()
        task.end()


@pytest.mark.parametrize("own", [False, True])
def test_a_running_task_is_killed_on_request(broker, own):
    """``code`` reads its input, which is our socket, until somebody ends it."""
    with streams() as (_, theirs, log):
        task = (DirectOperations() if own else broker).run("code", theirs.fileno(), log.fileno())
        running = task.wait(0.1)
        task.end()

        assert running is None
        assert not own or -signal.SIGKILL == task.wait(1)


def test_no_other_module_is_run(broker):
    """Whoever takes the service over cannot choose."""
    with streams() as (_, theirs, log), pytest.raises(PermissionError):
        broker.run("json.tool", theirs.fileno(), log.fileno())


@pytest.mark.parametrize(
    "request_", ["", "run", "run this", "wait 1 1", "end 1", "exe", "exe ../../etc", "mount /", "\0"]
)
def test_other_requests_are_errors_and_the_broker_lives(broker, request_):
    """No request makes it exit, or touch anything that is not its own."""
    with pytest.raises(OSError, match=r"Invalid argument|No such process|not permitted"):
        broker.ask(request_)
    assert broker.ended() is None
    assert PYTHON == broker.executable(broker.pid)


def test_executables_are_returned_and_a_missing_one_is_an_error(broker):
    """As `os.readlink` does."""
    assert PYTHON == broker.executable(broker.pid)
    with pytest.raises(FileNotFoundError):
        broker.executable(1 << 22)


def test_an_abandoned_answer_is_not_taken_for_the_next(broker):
    """A signal may have interrupted the caller."""
    broker._channel.send(b"interrupted exe 1")

    assert PYTHON == broker.executable(broker.pid)


def test_when_the_service_ends_so_do_the_broker_and_its_tasks():
    """Its socket is closed, for whatever reason."""
    broker = BrokerClient(["code"], [])
    with streams() as (ours, theirs, log):
        broker.run("code", theirs.fileno(), log.fileno())
        theirs.close()
        broker.close()

        ours.settimeout(10)
        assert b"" == ours.recv(1)
    assert 0 == broker.ended()


def test_signals_to_all_processes_of_a_service_do_not_end_it(broker):
    """A terminal's and systemd's: the service is to drain first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(broker.pid, number)

    assert broker.executable(broker.pid)
    assert os.getsid(broker.pid) == broker.pid


def test_it_cannot_gain_rights_and_has_none_that_it_was_not_given(broker):
    """Also not by executing a file."""
    sets, status = capability_sets(Path(f"/proc/{broker.pid}")), Path(f"/proc/{broker.pid}/status").read_text()

    assert {frozenset()} == {sets[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    assert "NoNewPrivs:\t1" in status


def test_a_dead_broker_fails_requests_and_is_reported_once():
    """No caller hangs."""
    broker, ledger = BrokerClient([ZEN], []), Ledger()
    rights = ServicePrivileges(broker)
    rights.check(ledger)
    before = dict(ledger.counts(ERRORS))
    os.kill(broker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, broker.pid, os.WEXITED | os.WNOWAIT)
    for _ in range(3):
        rights.check(ledger)

    assert {} == before
    assert [1] == list(ledger.counts(ERRORS).values())
    with pytest.raises(OSError, match=r".") as caught:
        broker.executable(1)
    assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)
    rights.close()
    rights.close()


def test_a_broker_that_ended_with_its_service_is_not_reported():
    """That is how it ends."""
    rights, ledger = ServicePrivileges(BrokerClient([], [])), Ledger()
    rights.close()
    rights.check(ledger)

    assert {} == dict(ledger.counts(ERRORS))


def test_the_broker_imports_little():
    """It stays for months beside the service."""
    code = "import sys; before = set(sys.modules); __name__ = 'x'; exec(open({!r}).read())\n" \
        "print(*sorted(set(sys.modules) - before))"  # fmt: skip
    path = str(Path(sys.modules[BrokerClient.__module__].__file__).with_name("broker_process.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code.format(path)], capture_output=True, text=True, check=True
    )

    assert not {"json", "subprocess", "ctypes", "re", "pathlib", "threading"} & set(done.stdout.split()), done.stdout
