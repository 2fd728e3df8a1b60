# SPDX-License-Identifier: Apache-2.0
"""What only the running kernel answers."""

import errno
import os
import sys

from ebpf_sidecar.receivers.ebpf.doctor import system
from ebpf_sidecar.receivers.ebpf.doctor.host_facts import read_host_facts
from ebpf_sidecar.receivers.ebpf.doctor.system import Bcc, this_system
from ebpf_sidecar.receivers.ebpf.kernel.refusals import own_privileges


def test_the_machine_we_are_on_can_be_read():
    """Whatever our user, nothing raises, and our privileges are those that the loader reports."""
    machine = read_host_facts(this_system())

    assert os.uname().release == machine.system.release
    assert own_privileges() == machine.privileges


def test_calls_are_tried_without_effect():
    """The kernel answers that there is nothing in them, or refuses."""
    answers = this_system().answers

    assert answers["bpf"] in (errno.EINVAL, errno.EPERM, errno.ENOSYS)
    assert answers["perf_event_open"] in (errno.EFAULT, errno.EPERM, errno.EACCES, errno.ENOSYS)


def test_bcc_is_not_imported_here():
    """It would stay in memory, compiler and all."""
    this_system()

    assert "bcc" not in sys.modules


def test_a_child_that_fails_is_explained_by_its_last_line(monkeypatch):
    """The exception, without its traceback."""
    monkeypatch.setattr(system, "_BCC", "raise ImportError('no libbcc.so.0')")
    monkeypatch.setattr(system, "system_folder", lambda: "/there/bcc")

    assert Bcc(cause="ImportError: no libbcc.so.0", folder="/there/bcc") == this_system().bcc


def test_a_silent_child_is_explained_by_its_exit_code(monkeypatch):
    """A crash inside a library prints nothing."""
    monkeypatch.setattr(system, "_BCC", "import os; os._exit(3)")
    monkeypatch.setattr(system, "system_folder", str)

    assert Bcc(cause="exit code 3") == this_system().bcc


def test_an_interpreter_that_cannot_be_started_is_a_cause(monkeypatch):
    """A frozen program has none."""
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    assert "No such file or directory" in this_system().bcc.cause
