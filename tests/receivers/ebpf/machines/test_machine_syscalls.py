# SPDX-License-Identifier: Apache-2.0
"""System calls by machine: numbers as in the kernel's headers, and what of our lists arm64 lacks."""

import re
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.frames.decoders import Decoders
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import known_syscalls, syscall_table
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute

ROOT = Path(__file__).parents[4]
SOURCES = sorted((ROOT / "receivers").rglob("*.py"))
GENERIC = Path("/usr/include/asm-generic/unistd.h")
"""arm64 has no numbers of its own: its header includes this one."""
X86_64 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
ONE_FOR_ALL = 424
"""From here on (5.1) a new call has the same number on each architecture."""


def defined(header):
    """Numbers by name as a kernel header defines them, before any preprocessor."""
    if not header.exists():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    found = re.findall(r"^#define\s+__NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(), re.MULTILINE)
    return {name: int(number) for name, number in found}


IN_THE_GAP = ("uretprobe", "uprobe")
"""Of x86-64, since 6.11 and 6.18: the kernel calls them itself, so they took numbers that were free below 424."""


def for_arm64(generic):
    """What of the generic header holds for arm64, under the names that 64-bit machines use."""
    numbers = {name: number for name, number in generic.items() if not 403 <= number <= 423 or "64" not in name}
    numbers["newfstatat"] = numbers.pop("fstatat")
    # not calls: where an architecture's own begin, how many there are, and another order of arguments (of 32-bit Arm)
    return {
        name: numbers[name] for name in numbers if name not in ("arch_specific_syscall", "syscalls", "sync_file_range2")
    }


def test_arm64_numbers_are_those_of_the_kernels_header():
    """All of them, and no others but newer ones."""
    header = for_arm64(defined(GENERIC))
    ours = syscall_table("aarch64").numbers

    assert header == {name: ours.get(name) for name in header}
    assert all(number > max(header.values()) for name, number in ours.items() if name not in header)


def test_x86_64_numbers_are_those_of_the_kernels_header():
    """All of them, and no others but newer ones."""
    header = defined(X86_64)
    ours = syscall_table("x86_64").numbers

    assert header == {name: ours.get(name) for name in header}
    newer = {name: number for name, number in ours.items() if name not in header and name not in IN_THE_GAP}
    assert all(number > max(header.values()) for number in newer.values())


def test_new_calls_have_one_number_on_all_machines():
    """The kernel's own rule; it also proves the numbers that installed headers are too old for."""
    tables = [syscall_table(machine).numbers for machine in ("aarch64", "x86_64")]
    new = [{name: number for name, number in table.items() if number >= ONE_FOR_ALL} for table in tables]

    assert new[0] == new[1]


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_calls_that_we_make_ourselves_are_in_the_table(machine):
    """Python has no names for them."""
    called = {name for path in SOURCES for name in re.findall(r'system_call\("(\w+)"', path.read_text())}

    assert {"bpf", "membarrier", "perf_event_open", "cachestat"} <= called
    assert called <= syscall_table(machine).numbers.keys()


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_all_numbers_fit_into_the_kernel_map(machine):
    """What to do for each call is kept in an array."""
    room = re.search(r"#define CALL_NUMBERS (\d+)", (ROOT / "bpf/thread.h").read_text())

    assert max(syscall_table(machine).names) < int(room[1])


def listed():
    """All system calls that our probes name, by the probe."""
    for path in find_probes([ROOT / "bpf"]).values():
        probe = read_probe(path)
        settings = {setting.name: setting.default for setting in probe.settings}
        for calls in probe.calls:
            yield from settings[calls.names[1:]] if isinstance(calls.names, str) else calls.names


def test_what_arm64_lacks_of_our_lists_is_known():
    """It has only the newer forms; a user's list may name either on each machine."""
    names = set(listed())

    assert {"rename", "unlink", "getdents", "epoll_wait"} == names - syscall_table("aarch64").numbers.keys()
    assert {"renameat", "renameat2", "unlinkat"} <= names
    assert names <= known_syscalls()


def test_fadvise_has_one_name_on_all_machines():
    """Its function is fadvise64_64 on arm64; dashboards are the same."""
    decoders = Decoders(syscall_table("aarch64"), Path("/nowhere"))

    assert "fadvise64" == decoders.of(Attribute("syscall", "syscall", "syscall"))(223)


def test_advice_is_the_fourth_argument_of_the_only_call_that_gives_some():
    """fadvise64 and fadvise64_64 are (fd, offset, length, advice) on 64-bit machines; others would need more code."""
    calls = [calls for calls in read_probe(ROOT / "bpf/syscalls.yaml").calls if "advice" in calls.set]

    assert [("fadvise64",)] == [tuple(each.names) for each in calls]
