# SPDX-License-Identifier: Apache-2.0
"""What a process did that lived for a second, as real Prometheus servers see it."""

import subprocess
import sys
from contextlib import ExitStack

import pytest
from prometheus_servers import DEBIAN, current, first_answer, needs_current, number, prometheus, query

pytestmark = pytest.mark.peer

BURST = """
import ctypes, os, time
ctypes.CDLL(None).prctl(15, b"burst", 0, 0, 0)
time.sleep(0.5)
for _ in range(500):
    try:
        os.open("/nonexistent/x", 0)
    except FileNotFoundError:
        pass
time.sleep(0.5)
"""
ERRORS = 'ebpf_syscall_errors_total{process_executable_name="burst",error_type="ENOENT"}'
BUCKET = 'ebpf_syscall_duration_seconds_bucket{process_executable_name="burst",syscall="openat",le="+Inf"}'
CREATED = '{__name__=~"ebpf_.*_created"}'
USES_CREATED = ("--enable-feature=created-timestamp-zero-ingestion",)
CURRENT = current()
# a page for each: another's scrapes would end the time in which a series is 0 on it
SERVERS = {
    "debian": (DEBIAN, (), "start_at_zero: true"),
    "debian_at_once": (DEBIAN, (), "start_at_zero: false"),
    "current": (CURRENT, (), "start_at_zero: true"),
    "current_at_once": (CURRENT, (), "start_at_zero: false"),
    "created": (CURRENT, USES_CREATED, "start_at_zero: false"),
    "both": (CURRENT, USES_CREATED, "start_at_zero: true"),
}
needs_debian = pytest.mark.skipif(DEBIAN is None, reason="prometheus is not installed (package prometheus)")


@pytest.fixture(scope="module")
def answers(serve_once, tmp_path_factory):
    """Each server's answers after a burst of 500 errors: total, increases of the counter and of a histogram, and how
    many series there are of created timestamps."""
    servers = {name: (program, options) for name, (program, options, _) in SERVERS.items() if program}
    service = serve_once(2.0, "[syscalls]", pages=tuple((name, SERVERS[name][2]) for name in servers))
    target, folder = f"127.0.0.1:{service.port}", tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        addresses = {
            name: stack.enter_context(
                prometheus(folder / name, target, program=program, path=f"/{name}", interval="500ms", options=options)
            )
            for name, (program, options) in servers.items()
        }
        for address in addresses.values():
            first_answer(address, "up == 1", bool)
        subprocess.run([sys.executable, "-S", "-c", BURST], check=True, timeout=60)
        return {name: _answers(address) for name, address in addresses.items()}


def _answers(address):
    first_answer(address, f"sum({ERRORS})", lambda result: number(result) >= 500)
    asked = (f"sum({ERRORS})", f"sum(increase({ERRORS}[2m]))", f"sum(increase({BUCKET}[2m]))", f"count({CREATED})")
    return [number(query(address, each)) for each in asked]


@needs_debian
def test_a_prometheus_without_created_timestamps_sees_the_errors_of_a_second(answers):
    """Debian's; and it sees none of them where series do not start with 0."""
    total, errors, calls, created = answers["debian"]
    at_once = answers["debian_at_once"]

    assert (500, 0) == (total, created)
    assert 499 <= errors < 1000
    assert 499 <= calls < 1000
    assert [500, 0, 0, 0] == at_once


@needs_current
@pytest.mark.parametrize("name", ["current", "created", "both"])
def test_a_current_prometheus_sees_the_errors_of_a_second(answers, name):
    """By series that start with 0, by created timestamps, or by both; none of these become series."""
    total, errors, calls, created = answers[name]

    assert (500, 0) == (total, created)
    assert 499 <= errors < 1000
    assert 499 <= calls < 1000


@needs_current
def test_a_current_prometheus_sees_nothing_without_a_zero_or_a_start_time(answers):
    """With neither of them it misses the errors."""
    assert [500, 0, 0, 0] == answers["current_at_once"]
