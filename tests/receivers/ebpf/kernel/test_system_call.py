# SPDX-License-Identifier: Apache-2.0
"""System calls by name."""

import errno
import os
import platform

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.membarrier import wait_for_programs
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.kernel.system_call import system_call


@pytest.fixture
def unknown_machine(monkeypatch):
    """A machine whose numbers we do not know."""
    monkeypatch.setattr(platform, "machine", lambda: "sparc")
    syscall_table.cache_clear()
    yield
    syscall_table.cache_clear()


def test_a_call_is_made_by_its_name():
    """Python knows the answer, too."""
    assert os.getppid() == system_call("getppid")


def test_a_refused_call_says_which():
    """And why."""
    with pytest.raises(OSError, match=r"^\[Errno 9\] Bad file descriptor: 'fdatasync'$"):
        system_call("fdatasync", -1)


@pytest.mark.usefixtures("unknown_machine")
def test_without_a_number_there_is_no_such_call():
    """As on a kernel that lacks it."""
    with pytest.raises(OSError, match="'getppid'") as caught:
        system_call("getppid")

    assert errno.ENOSYS == caught.value.errno
    assert not wait_for_programs()
