# SPDX-License-Identifier: Apache-2.0
"""bpftrace counts the same tracepoints at the same time."""

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress

import pytest
from mounts import WITH_TRACEFS, in_mounts, own_tracefs, why_no_tracefs

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("bpftrace") is None, reason="bpftrace is not installed (package bpftrace)"),
    pytest.mark.skipif(bool(why_no_tracefs()), reason=why_no_tracefs()),
]
FORMAT = "events/filemap/mm_filemap_add_to_page_cache/format"
SIZE = 8 << 20
CALLS = ("read", "pread64", "preadv2", "pwrite64", "sendfile", "openat", "fsync", "unlinkat")
PROGRAM = """
BEGIN { printf("ready\\n"); }
tracepoint:filemap:mm_filemap_add_to_page_cache /pid == PID/ { @added = sum(PAGES); }
tracepoint:filemap:mm_filemap_delete_from_page_cache /pid == PID/ { @removed = sum(PAGES); }
tracepoint:raw_syscalls:sys_exit /pid == PID/ { @calls[args->id] = count(); }
tracepoint:raw_syscalls:sys_exit /pid == PID && args->ret < 0/ { @errors[args->id] = count(); }
tracepoint:raw_syscalls:sys_exit /pid == PID && args->ret > 0/ { @bytes[args->id] = sum(args->ret); }
"""


def start(pid):
    """bpftrace, when it has attached: what it prints comes only then."""
    with own_tracefs() as tracefs:
        pages = "1 << args->order" if "order" in (tracefs / FORMAT).read_text() else "1"
    program = PROGRAM.replace("PID", str(pid)).replace("PAGES", pages)
    line = in_mounts(WITH_TRACEFS, ["bpftrace", "-f", "json", "-e", program])
    peer = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not any("ready" in line for line in peer.stdout):
        pytest.skip(f"bpftrace cannot trace here: {peer.communicate(timeout=30)[1].strip()}")
    return peer


def end(peer):
    """What it has counted: its maps by name without the @."""
    text = None
    while text is None:
        peer.send_signal(signal.SIGINT)  # again, because one that comes right before it waits for events is forgotten
        with suppress(subprocess.TimeoutExpired):
            text = peer.communicate(timeout=1)[0]
    lines = map(json.loads, filter(str.strip, text.splitlines()))
    return {name[1:]: value for line in lines if line["type"] == "map" for name, value in line["data"].items()}


@pytest.fixture(scope="module")
def beside(attach_once, window, rows):
    """Run an action: what the probes counted of its process, and what bpftrace did."""
    loaded = attach_once("page_cache", "syscalls")
    numbers = {name: syscall_table().numbers[name] for name in CALLS if name in syscall_table().numbers}

    def probes(pid):
        calls = {str(number): rows(loaded, "syscall_stats", pid, syscall=number) for number in numbers.values()}
        failed = {str(number): rows(loaded, "syscall_errors", pid, syscall=number) for number in numbers.values()}
        return {
            "cache": rows(loaded, "cache_stats_map", pid),
            "calls": {number: sum(row["duration"]) for number, row in calls.items()},
            "bytes": {number: sum(row["bytes"]) for number, row in calls.items()},
            "errors": {number: sum(row["errors"]) for number, row in failed.items()},
        }

    def beside(script, action, path, **more):
        running = []

        def look(pid):
            if running:
                return probes(pid), end(running.pop())
            seen = probes(pid)
            running.append(start(pid))
            return seen, {}

        try:
            ended = window(script, action, path, look=look, **more)
        finally:
            for peer in running:
                end(peer)
        return ended.before[0], *ended.after

    return beside


@pytest.fixture
def cold(tmp_path, forget):
    """A file of 8 MiB that is in no cache."""
    path = tmp_path / "data"
    path.write_bytes(os.urandom(SIZE))
    forget(path)
    return path


def added(before, after, field):
    """Pages of all causes that were added meanwhile, or removed."""
    return sum(after["cache"][field]) - sum(before["cache"][field])


@pytest.mark.parametrize(
    ("action", "step"), [("sequential", 65536), ("at_random", 4096), ("mapped", 4096), ("written", 65536)]
)
def test_pages_added_are_those_that_bpftrace_adds_up(beside, cold, action, step):
    """The sum over the folios that come in, whatever the way."""
    before, after, theirs = beside("files.py", action, cold, size=SIZE, step=step)

    assert theirs["added"] == added(before, after, "adds")


def test_pages_removed_are_those_that_bpftrace_adds_up(beside, cold):
    """The file is read and dropped."""
    cold.read_bytes()

    before, after, theirs = beside("files.py", "dropped", cold)

    assert theirs["removed"] == added(before, after, "removes")
    assert SIZE // os.sysconf("SC_PAGE_SIZE") <= theirs["removed"]


def test_system_calls_are_those_that_bpftrace_counts(beside, tmp_path):
    """Calls, errors and bytes of some system calls."""
    numbers = {name: syscall_table().numbers[name] for name in CALLS if name in syscall_table().numbers}
    (tmp_path / "numbers.json").write_text(json.dumps(numbers))

    before, after, theirs = beside("every.py", "every", tmp_path)

    for field in ("calls", "errors"):
        ours = {number: after[field][number] - before[field][number] for number in after[field]}
        assert {number: theirs[field][number] for number in ours} == ours
    moved = {number: after["bytes"][number] - before["bytes"][number] for number in after["bytes"]}
    moved = {number: value for number, value in moved.items() if value}
    assert {number: theirs["bytes"][number] for number in moved} == moved
    assert 5 == len(moved)
