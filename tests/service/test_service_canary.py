# SPDX-License-Identifier: Apache-2.0
"""What users see of the canary."""

import ctypes
import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import until

PIDFD_GETFD, ENABLE, DISABLE = 438, 0x2400, 0x2401
PRESSURE = Path(__file__).parents[1] / "kernel" / "workloads" / "pressure.py"
PLACES = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
MEMORY = next((p for p in PLACES if (p / "memory.stat").exists() and (p / "cgroup.procs").exists()), None)
HOOKS_OF_CALLS = [{"probe": "syscalls", "hook": hook} for hook in ("call_enter", "call_return", "thread_end")]

pytestmark = pytest.mark.parallel


def test_hooks_that_fire_are_shown_as_live(serve):
    """From the first reading on; none is dead, and none is shown that is not attached."""
    page = serve(probes="[syscalls, page_cache]").settled()
    live, attached = page.rows("ebpf_probe_live"), page.rows("ebpf_probe_attached")

    assert {1.0} == set(live.values())
    assert all(1 == page.sum("ebpf_probe_live", **labels) for labels in HOOKS_OF_CALLS)
    assert len(live) <= sum(attached.values())


def silence(process, silent):
    """Turn the process's perf events off, or on again: their hooks stay attached, and nothing reaches them."""
    pidfd, events = os.pidfd_open(process), []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            events += [int(link.name)] if "[perf_event]" in str(link.readlink()) else []
    for number in events:
        event = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, number, 0)
        fcntl.ioctl(event, DISABLE if silent else ENABLE, 0)
        os.close(event)
    os.close(pidfd)


def live_ones(service):
    """By hook, whether it fires."""
    return {dict(labels)["hook"]: value for labels, value in service.page().rows("ebpf_probe_live").items()}


def test_a_hook_that_falls_silent_is_found_out_and_one_that_comes_back_too(serve):
    """The canary checks again at each interval; it is logged once."""
    service = serve(probes="[page_faults]", canary_interval="1s")
    assert until(lambda: live_ones(service) == {"major": 1, "minor": 1}), live_ones(service)

    silence(service.process.pid, silent=True)
    assert until(lambda: live_ones(service) == {"major": 0, "minor": 0}), live_ones(service)
    silence(service.process.pid, silent=False)
    assert until(lambda: live_ones(service) == {"major": 1, "minor": 1}), live_ones(service)

    assert 2 == service.log.read_text().count("is attached but does not fire")


@pytest.mark.skipif(MEMORY is None, reason="no memory cgroups here")
@pytest.mark.kernel_alone
def test_hooks_of_memory_pressure_are_live_once_there_was_some(serve, tmp_path):
    """The canary causes none, so nothing is reported about them before."""
    file, folder = tmp_path / "pages", MEMORY / f"sidecar-canary-{os.getpid()}"
    file.write_bytes(bytes(32 << 20))
    with file.open("rb") as pages:
        os.fsync(pages.fileno())
        os.posix_fadvise(pages.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # or they would stay ours
    service = serve(probes="[memory]")
    before = live_ones(service)
    folder.mkdir()
    limit = "memory.max" if (folder / "memory.max").exists() else "memory.limit_in_bytes"
    (folder / limit).write_text(str(8 << 20))
    subprocess.run([sys.executable, "-S", "-E", str(PRESSURE), "reads", str(folder), "0", str(file)], check=True)
    folder.rmdir()
    service.settled()

    assert {"memcg_begin": 1, "memcg_end": 1, "shrink": 1}.items() <= live_ones(service).items()
    assert "oom_victim" not in before
