# SPDX-License-Identifier: Apache-2.0
"""The type of file, refusals and 32-bit calls: everything that kernels report in different places."""

import errno
import os
import subprocess

import pytest
from file_type_counts import types_of
from x86_programs import INTERRUPT, SYSCALL, TIMES, elf64

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

NUMBER = syscall_table().numbers


@pytest.fixture(scope="module")
def loaded(load_once):
    """Both probes, which share their programs."""
    return load_once("page_cache", "syscalls")


@pytest.mark.proves("ebpf.syscall.calls", oracle="known number")
def test_copying_calls_have_the_type_of_what_they_read(loaded, run, file_of):
    """Splice has the type of the end that is no pipe, if there is one."""
    reported = run("descriptors.py", "copied", file_of(8192))

    counted, done = types_of(loaded, reported["pid"]), reported["result"]
    assert {"file": done["sendfile"]} == counted[NUMBER["sendfile"]]
    assert {"file": done["splice of a file"], "pipe": done["splice of pipes"]} == counted[NUMBER["splice"]]


@pytest.mark.proves("ebpf.syscall.calls", oracle="known number")
def test_types_are_right_while_the_table_of_open_files_grows(loaded, run, file_of):
    """A thread replaces it by larger ones while another reads."""
    reported = run("descriptors.py", "growing", file_of(4096))

    assert reported["result"] == types_of(loaded, reported["pid"])[NUMBER["readv"]]


@pytest.mark.proves("ebpf.syscall.calls", "ebpf.syscall.errors", oracle="known number")
def test_a_new_threads_first_call_counts_when_it_is_refused(loaded, run, rows):
    """Its only call."""
    reported = run("refused.py", "young")

    row = rows(loaded, "syscall_stats", reported["pid"], syscall=NUMBER["fdatasync"])
    failed = rows(loaded, "syscall_errors", reported["pid"], syscall=NUMBER["fdatasync"], error=errno.EACCES)
    assert [reported["result"]["times"]] == row["refused"] == failed["errors"]
    assert 0 == sum(row["duration"])


@pytest.mark.proves("ebpf.syscall.calls", "ebpf.syscall.errors", oracle="known number")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is for x86")
def test_each_call_of_a_64_bit_program_counts_by_the_way_it_came(loaded, rows, tmp_path):
    """Alternately getpid by int $0x80, which is counted separately, and writev, which has the same number and fails."""
    program, before = tmp_path / "mixed32", loaded.drops.read()["compat_calls"]
    program.write_bytes(elf64(INTERRUPT + SYSCALL))
    program.chmod(0o755)

    subprocess.run([program], check=True)

    written = rows(loaded, "syscall_stats", comm=b"mixed32", syscall=NUMBER["writev"])
    failed = rows(loaded, "syscall_errors", comm=b"mixed32", syscall=NUMBER["writev"], error=errno.EBADF)
    assert (TIMES, [TIMES]) == (sum(written["duration"]), failed["errors"])
    assert before + TIMES == loaded.drops.read()["compat_calls"]
