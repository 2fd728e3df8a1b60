# SPDX-License-Identifier: Apache-2.0
"""Run statistics of programs on the running service."""

import os
import re
import shutil
import time

import pytest
from mounts import WITH_TRACEFS, in_mounts, why_no_tracefs

READS = 20_000
WITHOUT_SYS_ADMIN = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--")

pytestmark = pytest.mark.parallel


def test_each_call_is_a_run_of_the_programs_at_its_entry_and_return(serve, tmp_path):
    """Counted from outside: so many reads, so many runs more; and each took some time, but not a microsecond."""
    service = serve(probe_statistics="true")
    path = tmp_path / "file"
    path.write_bytes(b"x" * 512)
    descriptor = os.open(path, os.O_RDONLY)
    before = service.settled()
    for _ in range(READS):
        os.pread(descriptor, 512, 0)
    after = service.settled()
    os.close(descriptor)

    for program in ("call_enters", "call_returns"):
        [runs, seconds] = [
            after.sum(name, program=program) - before.sum(name, program=program)
            for name in ("ebpf_probe_runs_total", "ebpf_probe_run_time_seconds_total")
        ]
        assert READS <= runs
        assert 10e-9 < seconds / runs < 1e-6
    [labels] = after.rows("ebpf_probe_runs_total", program="call_enters")
    assert {"page_cache,syscalls", "call_enter"} < set(dict(labels).values())


@pytest.mark.kernel_alone
def test_run_statistics_are_off_by_default(serve):
    """Counting costs time in every program of the machine; skipped runs cost nothing to count."""
    page = serve().settled()

    assert {} == page.rows("ebpf_probe_runs_total") == page.rows("ebpf_probe_run_time_seconds_total")
    assert 0 == page.sum("ebpf_probe_missed_runs_total")
    assert 10 < len(page.rows("ebpf_probe_missed_runs_total"))


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
@pytest.mark.skipif(bool(why_no_tracefs()), reason=why_no_tracefs())
@pytest.mark.kernel_alone
def test_without_the_right_run_statistics_are_absent_with_the_reason(serve):
    """Never zero."""
    service = serve(before=in_mounts(WITH_TRACEFS, WITHOUT_SYS_ADMIN), probe_statistics="true")
    page = service.settled()

    assert {} == page.rows("ebpf_probe_runs_total")
    assert re.search(
        r"runs.*are absent: the kernel does not count runs: BPF_ENABLE_STATS is refused", service.log.read_text()
    )


def test_a_probe_that_costs_too_much_is_turned_off_visibly_and_others_go_on(serve, work, tmp_path):
    """With an absurdly small limit: one warning, hooks with the reason, counters that no longer change."""
    service = serve(interval=0.1, max_overhead='"0.0001%"', shed="[syscalls]")
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)
    deadline = time.monotonic() + 20
    while not service.page().sum("ebpf_probe_shed", probe="syscalls") and time.monotonic() < deadline:
        work("busy", "files.py", "sequential", path, 1, 512)
    before = service.settled()
    work("later", "files.py", "sequential", path, 1, 512)
    after = service.settled()

    assert {0} == set(after.rows("ebpf_probe_attached", probe="syscalls").values())
    assert after.rows("ebpf_probe_attached", probe="syscalls", reason="max_overhead")
    attached = after.rows("ebpf_probe_attached", probe="page_cache")
    # which no tracepoint can replace where the kernel has no kprobes
    assert {1} == {value for labels, value in attached.items() if dict(labels)["hook"] != "page_write_back"}
    assert 0 == after.sum("ebpf_probe_shed", probe="page_cache")
    assert 1e-6 < after.sum("ebpf_probe_overhead_ratio") < 0.2
    assert {} == after.rows("ebpf_syscall_duration_seconds_count", comm="later")
    assert 0 < after.sum("ebpf_cache_read_attempts_total", comm="later")
    assert after.sum("ebpf_syscall_duration_seconds_count") == before.sum("ebpf_syscall_duration_seconds_count")
    assert 1 == service.log.read_text().count('probe "syscalls" was turned off')
