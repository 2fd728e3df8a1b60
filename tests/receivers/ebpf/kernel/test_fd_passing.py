# SPDX-License-Identifier: Apache-2.0
"""Descriptors when resources are short: they are closed anyway, and the shortage is reported."""

import errno
import io
import os
import resource
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import (
    close_all,
    raise_descriptor_limit,
    receive_message,
    send_message,
)
from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure
from ebpf_sidecar.receivers.ebpf.loading.parent import _unanswered


def in_use():
    """The numbers of our descriptors."""
    return {number for number in range(1024) if Path(f"/proc/self/fd/{number}").is_symlink()}


@contextmanager
def allowed(soft):
    """Let this process have so many descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_all_are_closed_also_where_one_cannot_be():
    """And the failure is reported."""
    first, second = os.pipe()
    with pytest.raises(OSError, match="Bad file descriptor"):
        close_all([first, 99_999_999, second])

    assert not {first, second} & in_use()


def test_a_limit_that_is_reached_is_reported_and_leaves_nothing_open():
    """The kernel hands over as many as fit and drops the rest in silence."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Path(os.devnull).open("rb") as nothing:
        send_message(theirs, {}, [nothing.fileno()] * 100)
        before = in_use()
        free = [number for number in range(1024) if number not in before]
        with allowed(free[20]), pytest.raises(OSError, match="Too many open files") as caught:
            receive_message(ours)

        assert errno.EMFILE == caught.value.errno
        assert before == in_use()


def test_too_few_descriptors_are_no_crash_of_the_loader():
    """The message says how to get more."""
    error = _unanswered(OSError(errno.EMFILE, "Too many open files"), 0, io.BytesIO(b"unrelated"))

    assert Failure.DESCRIPTORS is error.failure
    assert "ulimit -n 65536, systemd: LimitNOFILE=65536, docker: --ulimit nofile=65536" in str(error)
    assert Failure.CRASH is _unanswered(EOFError(), 1, io.BytesIO(b"why")).failure
    assert Failure.KILLED is _unanswered(EOFError(), -9, io.BytesIO(b"why")).failure


def test_the_limit_is_raised_as_far_as_we_may():
    """And never lowered."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    with allowed(256):
        raise_descriptor_limit()
        first = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise_descriptor_limit()

        assert (wanted, hard) == first == resource.getrlimit(resource.RLIMIT_NOFILE)
