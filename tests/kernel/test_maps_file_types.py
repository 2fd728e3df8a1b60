# SPDX-License-Identifier: Apache-2.0
"""What system calls work on, for files of every type."""

import pytest
from file_type_counts import types_of
from loop_devices import loop_device

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

NUMBER = syscall_table().numbers
PROBES = [("syscalls",), ("page_cache", "syscalls")]
"""Alone each type is found by the descriptor; together some are known from the pages that were looked up."""

pytestmark = pytest.mark.parallel


@pytest.fixture
def typed(attach_once, run):
    """What a workload reports, and how many of its calls had each type, by call."""

    def typed(probes, action, path):
        loaded = attach_once(*probes)
        reported = run("descriptors.py", action, path)
        return reported["result"], types_of(loaded, reported["pid"])

    return typed


@pytest.mark.parametrize("probes", PROBES, ids="+".join)
def test_each_file_type_is_recognized(attach_once, window, tmp_path, probes):
    """Files on disk and in memory, direct reads, pipes, FIFOs, sockets, a terminal, devices, events, /proc and /sys."""
    loaded, file = attach_once(*probes), tmp_path / "data"
    file.write_bytes(b"x" * 8192)

    ended = window("typed.py", "types", file, look=lambda pid: types_of(loaded, pid))

    assert ended.facts == ended.after[NUMBER["readv"]]
    assert {""} == {*ended.after[NUMBER["openat"]], *ended.after[NUMBER["mmap"]], *ended.after[NUMBER["unlink"]]}


@pytest.mark.parametrize("probes", PROBES, ids="+".join)
def test_copying_calls_have_the_type_of_what_they_read(typed, probes, file_of):
    """Splice has the type of the end that is no pipe, if there is one."""
    reported, counted = typed(probes, "copied", file_of(8192))

    assert {"file": reported["sendfile"]} == counted[NUMBER["sendfile"]]
    assert {"file": reported["splice of a file"], "pipe": reported["splice of pipes"]} == counted[NUMBER["splice"]]


@pytest.mark.parametrize("probes", PROBES, ids="+".join)
def test_a_disk_that_is_read_and_written_by_its_node_is_a_block_device(typed, probes, tmp_path):
    """Whether the type is known from its pages or from its descriptor."""
    with loop_device(tmp_path / "disk") as disk:
        reported, counted = typed(probes, "device", disk)

    assert {call: {"block": times} for call, times in reported.items()} == {
        call: counted[NUMBER[call]] for call in reported
    }


def test_descriptors_that_are_not_open_are_other(typed, file_of):
    """Whatever their number."""
    reported, counted = typed(PROBES[0], "wrong", file_of(4096))

    assert reported == counted[NUMBER["readv"]]


def test_types_are_right_while_the_table_of_open_files_grows(typed, file_of):
    """A thread replaces it by larger ones while another reads."""
    reported, counted = typed(PROBES[0], "growing", file_of(4096))

    assert reported == counted[NUMBER["readv"]]
