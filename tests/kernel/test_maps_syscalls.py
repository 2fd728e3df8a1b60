# SPDX-License-Identifier: Apache-2.0
import errno
from collections import Counter

import numpy as np
import pytest

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

TIMES = 23
NUMBER = syscall_table().numbers
UNUSED_BY_PYTHON = [
    "preadv",
    "preadv2",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "sendfile",
    "splice",
    "copy_file_range",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "msync",
    "fadvise64",
    "fallocate",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "io_uring_enter",
]

pytestmark = pytest.mark.parallel


def duration(loaded, rows, pid, name):
    """The row of one system call of one process."""
    return rows(loaded, "syscall_stats", pid, syscall=NUMBER[name])


def errors(loaded, pid):
    """Errors of one process by system call and errno."""
    keys, values = loaded.maps["syscall_errors"].read()
    mine, found = keys["tgid"] == pid, Counter()
    for key, value in zip(keys[mine], values[mine], strict=True):
        found[int(key["syscall"]), int(key["error"])] += int(value[0])
    return found


def test_23_calls_of_each_system_call_count_23(attach_once, run, rows):
    """Durations, and errors by the errno that the caller saw."""
    loaded = attach_once("syscalls")
    numbers = [NUMBER[name] for name in UNUSED_BY_PYTHON]

    reported = run("calls.py", "failing", *numbers)

    counted = {name: sum(duration(loaded, rows, reported["pid"], name)["duration"]) for name in UNUSED_BY_PYTHON}
    failed = errors(loaded, reported["pid"])
    assert dict.fromkeys(UNUSED_BY_PYTHON, TIMES) == counted
    assert dict.fromkeys(numbers, TIMES) == {n: failed.get((n, reported["result"][str(n)])) for n in numbers}


def test_calls_that_are_not_configured_are_not_counted(attach_once, run):
    """The setting replaces the default list."""
    loaded = attach_once("syscalls", chosen={"syscalls": {"syscalls": ["fdatasync"]}})

    reported = run("calls.py", "failing", NUMBER["fdatasync"], NUMBER["fsync"])

    keys, _ = loaded.maps["syscall_stats"].read()
    assert [NUMBER["fdatasync"]] == keys["syscall"][keys["tgid"] == reported["pid"]].tolist()


def test_the_sum_of_durations_is_within_the_slots_bounds(attach_once, run, rows):
    """Every value is in its slot: the sum is between the sums of the lower and of the upper bounds."""
    loaded = attach_once("syscalls")

    pid = run("calls.py", "failing", NUMBER["fsync"])["pid"]

    counted = duration(loaded, rows, pid, "fsync")
    upper = 2.0 ** (8 + np.arange(len(counted["duration"])))
    lower = np.where(upper == 256, 0, upper / 2)
    assert (counted["duration"] * lower).sum() <= counted["duration_sum"][0] <= (counted["duration"] * upper).sum()


def test_bytes_are_what_the_calls_returned(attach_once, run, rows, file_of):
    """By call, whatever was requested; the direction is in the key."""
    loaded = attach_once("syscalls")

    pid = run("calls.py", "moved", file_of(4096))["pid"]

    assert [TIMES * 1000] == rows(loaded, "syscall_stats", pid, syscall=NUMBER["pwrite64"], direction=2)["bytes"]
    assert [400] == rows(loaded, "syscall_stats", pid, syscall=NUMBER["preadv2"], direction=1)["bytes"]
    assert TIMES + 1 <= sum(duration(loaded, rows, pid, "pread64")["duration"])


def test_advice_is_counted_by_kind_and_success(attach_once, run, rows, file_of):
    """Advice n was given n + 1 times; 23 more of the first kind failed."""
    loaded = attach_once("syscalls")

    pid = run("calls.py", "advice", file_of(4096))["pid"]

    counted = [rows(loaded, "fadvise_stats", pid, advice=which) for which in range(6)]
    assert [1 + TIMES, 2, 3, 4, 5, 6] == [each["calls"][0] for each in counted]
    assert [1, 2, 3, 4, 5, 6] == [each["success"][0] for each in counted]


@pytest.mark.parametrize("how", ["restarted", "stopped"])
@pytest.mark.alone
def test_a_restarted_call_counts_once_from_its_first_start(attach_once, run, rows, how):
    """Two interruptions in 0.3 s: one call of 0.3 s, no error."""
    loaded = attach_once("syscalls")

    reported = run("calls.py", how)

    counted = duration(loaded, rows, reported["pid"], "readv")
    assert [100] == reported["result"]
    assert 1 == sum(counted["duration"])
    assert 0.28e9 < counted["duration_sum"][0] < 0.6e9
    assert (NUMBER["readv"], errno.EINTR) not in errors(loaded, reported["pid"])


@pytest.mark.alone
def test_an_interrupted_call_counts_as_eintr(attach_once, run, rows):
    """Without SA_RESTART each interruption ends a call with EINTR, and the last one succeeds."""
    loaded = attach_once("syscalls")

    reported = run("calls.py", "interrupted")

    counted = duration(loaded, rows, reported["pid"], "readv")
    assert [-1, -1, 100] == reported["result"]
    assert 3 == sum(counted["duration"])
    assert 0.28e9 < counted["duration_sum"][0] < 0.6e9
    assert 2 == errors(loaded, reported["pid"])[NUMBER["readv"], errno.EINTR]


@pytest.mark.alone
def test_a_call_that_its_handler_leaves_is_not_taken_for_the_next_one_like_it(attach_once, handled, rows):
    """The handler, with SA_RESTART, leaves by siglongjmp: a read never ends, the next one has its data at once."""
    loaded = attach_once("syscalls")

    reported = handled("left")

    counted = duration(loaded, rows, reported["pid"], "readv")
    assert ([4], 1) == (reported["result"], reported["left"])
    assert 1 == sum(counted["duration"])
    assert 0.1e9 > counted["duration_sum"][0]  # 0.5 s after the first read started


def test_a_signal_within_a_handler_does_not_end_the_call(attach_once, handled, rows):
    """The first handler has SA_RESTART, so the read continues, whatever the second one has."""
    loaded = attach_once("syscalls")

    reported = handled("within")

    counted = duration(loaded, rows, reported["pid"], "readv")
    assert [4] == reported["result"]
    assert 1 == sum(counted["duration"])
    assert 0.25e9 < counted["duration_sum"][0]
    assert (NUMBER["readv"], errno.EINTR) not in errors(loaded, reported["pid"])


@pytest.mark.parametrize("name", [name for name in ("poll", "clock_nanosleep") if name in NUMBER])
def test_a_call_continued_by_restart_syscall_counts_once_under_its_own_name(attach_once, run, rows, name):
    """Waits of 0.3 s that SIGSTOP and SIGCONT interrupt: the kernel continues with what is left of the time."""
    loaded = attach_once("syscalls", chosen={"syscalls": {"syscalls": [name]}})

    reported = run("calls.py", "paused", name, NUMBER[name])

    counted = duration(loaded, rows, reported["pid"], name)
    keys, _ = loaded.maps["syscall_stats"].read()
    assert 0 == reported["result"]
    assert 1 == sum(counted["duration"])
    assert 0.28e9 < counted["duration_sum"][0]
    assert [NUMBER[name]] == keys["syscall"][keys["tgid"] == reported["pid"]].tolist()
    assert {} == errors(loaded, reported["pid"])


def test_threads_that_die_inside_a_call_leave_nothing(attach_once, run):
    """Their state goes with them; the calls never returned, so they are not counted."""
    loaded = attach_once("syscalls", "page_cache")

    reported = run("calls.py", "killed")

    _, values = loaded.maps["threads"].read()
    tgids = values[:, 1] & 0xFFFFFFFF
    assert not np.isin(tgids, [reported["pid"], reported["result"]]).any()
