# SPDX-License-Identifier: Apache-2.0
"""The rights needed to read maps differ from kernel to kernel: those that are kept are enough."""

import json
import os

import pytest

from ebpf_sidecar.pipeline.process.capabilities import forbid_new_privileges, limit_capabilities, permitted_capabilities
from ebpf_sidecar.pipeline.process.seccomp import refuse_system_calls
from ebpf_sidecar.receivers.ebpf.kernel.reader_rights import rights_to_read
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

CALLS = 1000
PREAD = syscall_table().numbers["pread64"]


def counted_without_rights(loaded, rows):
    """Give up all that is not needed, make calls, and read how many were counted; and what is left."""
    limit_capabilities(rights_to_read())
    forbid_new_privileges()
    refuse_system_calls()
    nothing = os.open(os.devnull, os.O_RDONLY)
    before = rows(loaded, "syscall_stats", os.getpid(), syscall=PREAD)["duration"]
    for _ in range(CALLS):
        os.pread(nothing, 1, 0)
    after = rows(loaded, "syscall_stats", os.getpid(), syscall=PREAD)["duration"]
    return (
        sum(after) - sum(before),
        sorted(permitted_capabilities()),
        [program.runs()[0] for program in loaded.programs] != [],
    )


@pytest.mark.proves("ebpf.syscall.duration", oracle="known number")
def test_the_kept_rights_are_enough_to_read_the_maps(load_once, rows):
    """None since 5.19; before, CAP_BPF if the sysctl requires it."""
    loaded = load_once("page_cache", "syscalls")
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = counted_without_rights(loaded, rows)
        except Exception as error:  # noqa: BLE001 # shown by the parent
            answer = repr(error)
        os.write(theirs, json.dumps(answer).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        reported = json.loads(answer.read())
    os.waitpid(child, 0)

    assert isinstance(reported, list), reported
    counted, left, reports = reported
    assert CALLS == counted
    assert left in ([], ["BPF"])
    assert reports
