# SPDX-License-Identifier: Apache-2.0
"""Calls that come the 32-bit way, where a number means another call: 20 is getpid for i386, writev for x86-64."""

import errno
import os
import struct
import subprocess

import numpy as np
import pytest

TIMES = 23
CALL_20 = b"\xb8\x14\0\0\0"  # mov eax, 20
INTERRUPT = CALL_20 + b"\xcd\x80"  # int 0x80
SYSCALL = CALL_20 + b"\x83\xcf\xff\x0f\x05"  # or edi, -1; syscall

pytestmark = [
    pytest.mark.parallel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the programs are for x86"),
]


@pytest.fixture
def run_elf(tmp_path):
    """Run a program of so many bits in a loop, by a name; it ends with ``exit_``."""

    def run_elf(name, bits, body, exit_):
        program = tmp_path / name
        code = b"\xbe" + struct.pack("<I", TIMES) + body + b"\xff\xce\x75" + struct.pack("b", -len(body) - 4) + exit_
        program.write_bytes((elf_of_32_bits if bits == 32 else elf_of_64_bits)(code))
        program.chmod(0o755)
        try:
            subprocess.run([program], check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this kernel takes no 32-bit calls")

    return run_elf


def test_32_bit_programs_are_not_taken_for_what_their_numbers_mean_elsewhere(attach_once, run_elf):
    """23 times getpid, and exit, elsewhere write, are set aside and counted."""
    loaded = attach_once("syscalls")
    before = loaded.drops.read()["compat_calls"]

    run_elf("all32", 32, INTERRUPT, b"\xb8\x01\0\0\0\x31\xdb\xcd\x80")

    assert before + TIMES + 1 == loaded.drops.read()["compat_calls"]
    assert {} == calls_of(loaded, b"all32")


def test_each_call_of_a_64_bit_program_counts_by_the_way_it_came(attach_once, run_elf):
    """In turn 23 times getpid by int $0x80, which is set aside, and writev on no descriptor, which fails."""
    loaded = attach_once("syscalls")
    before = loaded.drops.read()["compat_calls"]

    run_elf("mixed32", 64, INTERRUPT + SYSCALL, b"\xb8\x3c\0\0\0\x31\xff\x0f\x05")

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


def elf_of_32_bits(code):
    """The smallest program of 32 bits with this code."""
    base, headers = 0x8048000, 84
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + headers, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, base, base, headers + len(code), headers + len(code), 5, 4096)
    return b"\x7fELF\1\1\1" + bytes(9) + header + segment + code


def elf_of_64_bits(code):
    """The same of 64 bits."""
    base, headers = 0x400000, 120
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, headers + len(code), headers + len(code), 4096)
    return b"\x7fELF\2\1\1" + bytes(9) + header + segment + code
