# SPDX-License-Identifier: Apache-2.0
"""All system calls of the default list, and others by name: calls, bytes and errors, each against a known number."""

import json
from collections import Counter
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

NUMBERS = syscall_table().numbers
BPF = Path(__file__).parents[2] / "bpf"
OTHERS = ("getdents64", "getrandom", "recvmsg", "sendmsg", "statx")

pytestmark = pytest.mark.parallel


def default_list():
    """Names and numbers of the calls that are followed by default and that this architecture has."""
    [setting] = [each for each in read_probe(BPF / "syscalls.yaml").settings if each.name == "syscalls"]
    return {name: NUMBERS[name] for name in setting.default if name in NUMBERS}


def followed(which):
    """Numbers by name: of the default list, or of others that a user may choose."""
    return default_list() if which == "default" else {name: NUMBERS[name] for name in OTHERS}


@pytest.fixture(scope="module", params=["default", "others"])
def everything(request, attach_once, window, tmp_path_factory, rows):
    """What the probe counted of a process that makes all calls of a list, and what that process says."""
    numbers, folder = followed(request.param), tmp_path_factory.mktemp("every")
    (folder / "numbers.json").write_text(json.dumps(numbers))
    chosen = None if request.param == "default" else {"syscalls": {"syscalls": list(numbers)}}
    loaded = attach_once("syscalls", chosen=chosen)

    def look(pid):
        calls = {name: rows(loaded, "syscall_stats", pid, syscall=number) for name, number in numbers.items()}
        return calls, errors_of(loaded, pid)

    return window("every.py", "every", folder, look=look)


def errors_of(loaded, pid):
    """Errors of one process on all types of files: a mapping of (number of the call, errno)."""
    keys, values = loaded.maps["syscall_errors"].read()
    mine, found = keys["tgid"] == pid, Counter()
    for key, value in zip(keys[mine], values[mine], strict=True):
        found[int(key["syscall"]), int(key["error"])] += int(value[0])
    return found


def grown(seen, name, field):
    """By how much a field of a call's row grew in the window."""
    return sum(seen.after[0][name][field]) - sum(seen.before[0][name][field])


def test_all_calls_of_the_list_were_made(everything):
    """Only what the machine has switched off may be left out."""
    assert everything.before[0].keys() - everything.facts.keys() <= {"io_uring_enter"}


def test_each_call_is_counted_as_often_as_it_was_made(everything):
    """A different number for each call, good ones and failed ones together."""
    counted = {name: grown(everything, name, "duration") for name in everything.facts}

    assert {name: fact["calls"] for name, fact in everything.facts.items()} == counted


def test_bytes_are_those_that_each_call_moved(everything):
    """What failed and what moves nothing adds none."""
    counted = {name: grown(everything, name, "bytes") for name in everything.facts}

    assert {name: fact["bytes"] for name, fact in everything.facts.items()} == counted


def test_errors_are_those_that_each_call_returned(everything):
    """By call and errno, a different number for each call."""
    before, after = everything.before[1], everything.after[1]
    counted = {key: number - before.get(key, 0) for key, number in after.items()}

    assert {
        (NUMBERS[name], int(error)): number
        for name, fact in everything.facts.items()
        for error, number in fact["errors"].items()
    } == {key: number for key, number in counted.items() if number}
