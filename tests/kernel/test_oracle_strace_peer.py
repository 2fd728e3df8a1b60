# SPDX-License-Identifier: Apache-2.0
"""strace counts the same calls and errors of the same processes."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (package strace)"),
]
WORKLOADS = Path(__file__).parent / "workloads"
NUMBERS = syscall_table().numbers
NAMES = {number: name for name, number in NUMBERS.items()}
RESTARTED = {"wait4", "waitid"}
"""A child's exit interrupts its parent's wait: a separate call for strace, the same call continued for us."""


@pytest.fixture(scope="module")
def seen(attach_once, tmp_path_factory):
    """Calls and errors by name, twice: as strace counts them, and as the probe does for the same executable."""
    folder = tmp_path_factory.mktemp("strace")
    loaded = attach_once("syscalls", chosen={"syscalls": {"syscalls": list(NUMBERS)}})
    program = folder / "under-strace"
    program.symlink_to(Path(sys.executable).resolve())
    command = [program, "-S", "-E", WORKLOADS / "mixed.py", folder]
    done = subprocess.run(
        ["strace", "-c", "-f", "-o", folder / "summary", *command], capture_output=True, timeout=120, check=False
    )
    if done.returncode:
        pytest.skip(f"strace cannot trace here: {done.stderr.decode(errors='replace').strip()}")
    counted = [
        by_name(loaded, *each, program.name) for each in (("syscall_stats", "duration"), ("syscall_errors", "errors"))
    ]
    return summary((folder / "summary").read_text()), counted


def summary(text):
    """Calls and errors by name from strace's table: % time, seconds, usecs/call, calls, errors (or none), syscall."""
    calls, errors = Counter(), Counter()
    for line in text.splitlines():
        words = line.split()
        if words and words[0][0].isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[3])
            errors[words[-1]] = int(words[4]) if len(words) == 6 else 0
    return calls, +errors


def by_name(loaded, name, field, program):
    """A field of a map, added up by the system call's name."""
    keys, values = loaded.maps[name].read()
    columns = loaded.maps[name].value_fields[field]
    found = Counter()
    for key, value in zip(keys, values, strict=True):
        if key["comm"].decode() == program:
            found[NAMES[int(key["syscall"])]] += int(value[columns].sum())
    return found


def without_restarted(counts):
    """What both count alike."""
    return {name: number for name, number in counts.items() if name not in RESTARTED}


def test_calls_by_name_are_those_that_strace_counts(seen):
    """Of a program with threads and children, from its start to its end; every system call that it makes."""
    (calls, _), (counted, _) = seen

    assert without_restarted(calls) == without_restarted(counted)
    assert 20 < len(calls)


def test_errors_by_name_are_those_that_strace_counts(seen):
    """Errors of all kinds together, as strace reports them."""
    (_, errors), (_, counted) = seen

    assert without_restarted(errors) == without_restarted(counted)
    assert 3 < len(errors)
