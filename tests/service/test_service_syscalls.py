# SPDX-License-Identifier: Apache-2.0
"""Known numbers of system calls, read back from /metrics."""

import errno
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

TIMES = 23
BPF = Path(__file__).parents[2] / "bpf"
ADVICES = ("normal", "random", "sequential", "willneed", "dontneed", "noreuse")

pytestmark = pytest.mark.parallel


@pytest.fixture
def service(serve_once):
    """It follows our own programs alone: those of a busy machine might leave no room in the map."""
    return serve_once(probes="[syscalls]", targets="{executables: [refused, advisor, mover, idle]}")


def followed():
    """The numbers of the system calls that are followed by default, by name."""
    [setting] = [each for each in read_probe(BPF / "syscalls.yaml").settings if each.name == "syscalls"]
    return {name: syscall_table().numbers[name] for name in setting.default if name in syscall_table().numbers}


def test_23_calls_of_each_are_23_with_their_errors_by_name(service, work):
    """Each followed call is made 23 times with arguments that it must refuse."""
    numbers = followed()
    errors = work("refused", "calls.py", "failing", *numbers.values())["result"]
    page = service.settled()
    expected = {name: errno.errorcode[errors[str(number)]] for name, number in numbers.items() if errors[str(number)]}
    counted = {
        name: page.sum("ebpf_syscall_errors_total", comm="refused", syscall=name, error_type=error)
        for name, error in expected.items()
    }

    assert 20 <= len(expected)
    assert dict.fromkeys(expected, TIMES) == counted


def test_each_advice_is_counted_with_its_success(service, work, tmp_path):
    """Advice number n is given n + 1 times, and 23 calls fail."""
    (tmp_path / "file").write_bytes(b"x" * 8192)
    work("advisor", "calls.py", "advice", tmp_path / "file")
    page = service.settled()
    by_advice = {a: page.sum("ebpf_fadvise_advice_total", comm="advisor", advice=a) for a in ADVICES}

    assert {"normal": 1 + TIMES, **{advice: n + 1 for n, advice in enumerate(ADVICES) if n}} == by_advice
    assert 21 + TIMES == page.sum("ebpf_fadvise_calls_total", comm="advisor")
    assert 21 == page.sum("ebpf_fadvise_success_total", comm="advisor")


def test_bytes_are_counted_by_direction(service, work, tmp_path):
    """23 writes of 1,000 bytes and 23 reads of 700 bytes are what they are."""
    (tmp_path / "file").write_bytes(b"")
    work("mover", "calls.py", "moved", tmp_path / "file")
    work("idle", "calls.py", "failing")
    page = service.settled()

    def moved(comm, syscall, direction):
        return page.sum("ebpf_syscall_io_bytes_total", comm=comm, syscall=syscall, direction=direction)

    startup = moved("idle", "pread64", "read")
    assert TIMES * 1000 == moved("mover", "pwrite64", "write")
    assert TIMES * 700 == moved("mover", "pread64", "read") - startup
    assert 400 == moved("mover", "preadv", "read") or 400 == moved("mover", "preadv2", "read")
