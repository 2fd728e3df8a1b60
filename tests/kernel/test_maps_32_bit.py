# SPDX-License-Identifier: Apache-2.0
"""Calls that come the 32-bit way, where a number means another call: 20 is getpid for i386, writev for x86-64."""

import errno
import os
import subprocess

import numpy as np
import pytest
from x86_programs import INTERRUPT, SYSCALL, TIMES, elf32, elf64

pytestmark = [
    pytest.mark.parallel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the programs are for x86"),
]


@pytest.fixture
def run_elf(tmp_path):
    """Run a program by a name."""

    def run_elf(name, content):
        program = tmp_path / name
        program.write_bytes(content)
        program.chmod(0o755)
        try:
            subprocess.run([program], check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this kernel takes no 32-bit calls")

    return run_elf


def test_32_bit_calls_are_not_taken_for_64_bit_calls_of_the_same_number(attach_once, run_elf):
    """23 times getpid, and exit (write elsewhere), are counted separately."""
    loaded = attach_once("syscalls")
    before = loaded.drops.read()["compat_calls"]

    run_elf("all32", elf32(INTERRUPT))

    assert before + TIMES + 1 == loaded.drops.read()["compat_calls"]
    assert {} == calls_of(loaded, b"all32")


def test_each_call_of_a_64_bit_program_counts_by_the_way_it_came(attach_once, run_elf):
    """Alternately getpid by int $0x80, counted separately, and writev on no descriptor, which fails: 23 times each."""
    loaded = attach_once("syscalls")
    before = loaded.drops.read()["compat_calls"]

    run_elf("mixed32", elf64(INTERRUPT + SYSCALL))

    keys, values = loaded.maps["syscall_errors"].read()
    mine = keys["comm"] == b"mixed32"
    assert before + TIMES == loaded.drops.read()["compat_calls"]
    assert {20: TIMES} == calls_of(loaded, b"mixed32")
    assert [(20, errno.EBADF)] == keys[["syscall", "error"]][mine].tolist()
    assert [[TIMES]] == values[mine].tolist()


def calls_of(loaded, name):
    """How many calls of each number a program made."""
    kernel_map = loaded.maps["syscall_stats"]
    keys, values = kernel_map.read()
    counts = values[:, kernel_map.value_fields["duration"]].sum(axis=1)
    found = np.flatnonzero(keys["comm"] == name)
    return {int(keys["syscall"][i]): int(counts[i]) for i in found}
