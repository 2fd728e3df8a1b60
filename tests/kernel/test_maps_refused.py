# SPDX-License-Identifier: Apache-2.0
"""Calls that seccomp refuses: the kernel shows only that they return."""

import errno
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

WORKLOADS = Path(__file__).parent / "workloads"
NUMBER = syscall_table().numbers

pytestmark = pytest.mark.parallel


@pytest.fixture
def counted(rows):
    """Of a process, a call's durations and refusals, and its errors by number."""

    def counted(loaded, pid, name):
        row = rows(loaded, "syscall_stats", pid, syscall=NUMBER[name])
        keys, values = loaded.maps["syscall_errors"].read()
        mine = (keys["tgid"] == pid) & (keys["syscall"] == NUMBER[name])
        errors = dict(zip(keys["error"][mine].tolist(), values[mine].sum(axis=1).tolist(), strict=True))
        return sum(row["duration"]), row["refused"][0], errors

    return counted


def test_refused_calls_count_with_their_error(attach_once, window, counted, tmp_path):
    """Not those that seccomp answers with 0: nothing shows that they were refused."""
    loaded, pids = attach_once("syscalls", "page_cache"), []

    ended = window("typed.py", "refused", tmp_path, look=pids.append)

    times = ended.facts["refused"]
    assert (0, times, {errno.EPERM: times}) == counted(loaded, pids[0], "fdatasync")
    assert (0, 0, {}) == counted(loaded, pids[0], "renameat2")


def test_a_new_threads_first_call_counts_when_it_is_refused(attach_once, run, counted):
    """It is younger than the first call that was seen, so none of its entries were missed."""
    loaded = attach_once("syscalls", "page_cache")

    reported = run("refused.py", "young")

    times = reported["result"]["times"]
    assert (0, times, {errno.EACCES: times}) == counted(loaded, reported["pid"], "fdatasync")


def test_a_call_that_started_before_attaching_is_not_taken_for_a_refused_one(attach, counted):
    """A read under a filter fails after attaching; the next call, which is refused, counts."""
    here, there = socket.socketpair()
    with here, there:
        command = [sys.executable, "-S", "-E", WORKLOADS / "refused.py", "waiting"]
        process = subprocess.Popen(command, stdin=there, stdout=subprocess.PIPE)
        there.close()
        here.recv(1, socket.MSG_PEEK)
        loaded = attach("syscalls", chosen={"syscalls": {"syscalls": ["recvfrom", "fdatasync", "getrandom"]}})
        time.sleep(0.2)  # longer than entries may be missed
        here.close()
        reported = json.loads(process.communicate(timeout=60)[0])

    assert {"first": errno.ECONNRESET, "refused": errno.EPERM} == reported["result"]
    assert (0, 0, {}) == counted(loaded, reported["pid"], "recvfrom")
    assert (0, 1, {errno.EPERM: 1}) == counted(loaded, reported["pid"], "fdatasync")
