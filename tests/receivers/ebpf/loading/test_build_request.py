# SPDX-License-Identifier: Apache-2.0
import json
import re
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.errors import ConfigError, ProbeError
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.loading.build_request import check_settings, request_for, with_settings
from ebpf_sidecar.receivers.ebpf.loading.map_sizing import BUDGET, SizingMachine
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest
from ebpf_sidecar.receivers.ebpf.loading.targets import KernelTargets
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe

BPF = Path(__file__).parents[4] / "bpf"
NUMBERS = syscall_table().numbers


@pytest.fixture
def probes():
    """All that we ship."""
    return {name: read_probe(path) for name, path in find_probes([BPF]).items()}


def test_a_request_survives_json(probes):
    """That is how it reaches the loader."""
    request = request_for(list(probes.values()), cgroup_hierarchy="memory", by_process=True, strict=True)

    assert request == LoadRequest.from_json(json.loads(json.dumps(request.to_json())))


def test_shared_programs_come_after_the_probes_and_once(probes):
    """They call the handlers of all probes before them; the reader's own files are separate."""
    request = request_for([probes["page_cache"], probes["syscalls"]])

    files = ["page_cache.c", "syscalls.c", "call.c", "page_cache_faults.c", "new_cgroups.c"]
    assert files == [Path(file).name for file in request.files]


def test_probes_add_to_what_is_done_for_a_call(probes):
    """Reads are followed for their pages and their time; mmap only has a cause without the syscalls probe.

    The upper four bits of a cause say where a call reads: from the file's own position (2).
    """
    both = request_for([probes["page_cache"], probes["syscalls"]]).calls
    alone = request_for([probes["page_cache"]]).calls

    assert {"follow": 1, "cause": 2 << 4 | 1, "timed": 1, "direction": 1, "descriptor": 1} == both[NUMBERS["read"]]
    assert {"cause": 3} == alone[NUMBERS["mmap"]]


def test_the_users_list_of_calls_replaces_ours(probes):
    """Only what was requested is timed."""
    calls = request_for([probes["syscalls"]], {"syscalls": {"syscalls": ["openat", "rename"]}}).calls

    timed = {number for number, fields in calls.items() if fields.get("timed")}
    assert {NUMBERS[name] for name in ("openat", "rename") if name in NUMBERS} == timed


@pytest.mark.parametrize(("budget", "entries"), [(BUDGET, 16384), (BUDGET // 4, 4096), (4 * BUDGET, 65536)])
def test_a_budget_changes_the_size_of_all_maps(probes, budget, entries):
    """In proportion."""
    request = request_for([probes["page_cache"]], budget=budget, machine=SizingMachine(2))

    assert entries == request.macros["CACHE_STATS_ENTRIES"]


@pytest.mark.parametrize("cpus", [2, 64, 256])
def test_chosen_cgroups_are_part_of_the_budget(probes, cpus):
    """What is too little is reported as it was written, and what the message suggests is enough."""
    targets, machine = KernelTargets({"TARGETS": 1, "TARGET_CGROUPS": 1}), SizingMachine(cpus)
    with pytest.raises(ProbeError, match=r'max_map_memory: "100000" bytes are too few') as caught:
        request_for([probes["block_io"]], budget=100_000, machine=machine, targets=targets)
    least = 1024 * int(re.findall(r'"(\d+)KiB"', str(caught.value))[0])
    request = request_for([probes["block_io"]], budget=least, machine=machine, targets=targets)

    assert 64 <= request.macros["TARGET_CGROUPS_ENTRIES"] < 4096
    assert "target_cgroups" in request.maps
    assert "target_cgroups" not in request.drop_reasons


def test_a_budget_that_is_too_small_is_refused(probes):
    """With the least that works."""
    with pytest.raises(ProbeError, match=r'max_map_memory: "1000" bytes are too few .* give at least "\d+KiB"'):
        request_for([probes["page_cache"]], budget=1000)


def test_drops_are_distinguished_by_map(probes):
    """Each map, then the other reasons, without repeating."""
    reasons = request_for([probes["page_cache"], probes["syscalls"]]).drop_reasons

    assert len(set(reasons)) == len(reasons)
    assert {"cache_stats", "threads", "syscall_stats", "compat_calls"} <= set(reasons)


@pytest.mark.parametrize(
    ("chosen", "mistakes"),
    [
        ({"syscalls": ["fsync", "futex"]}, []),
        ({"syscals": []}, [(("syscals",), 'unknown setting "syscals" of probe "syscalls"; did you mean "syscalls"?')]),
        ({"syscalls": ["fsink"]}, [(("syscalls", 0), 'unknown system call "fsink"; did you mean "fspick"?')]),
        ({"syscalls": "fsync"}, [(("syscalls",), '"fsync" is not a list of system calls; write [fsync]')]),
        ({"syscalls": 5}, [(("syscalls",), '"5" is not a list of system calls; write [read, write]')]),
        ({"duration_file_types": []}, []),
        (
            {"duration_file_types": ["file", "sokcet"]},
            [(("duration_file_types", 1), 'unknown word "sokcet"; did you mean "socket"?')],
        ),
        (
            {"duration_file_types": "all"},
            [(("duration_file_types",), '"all" is not a list of words; write [file, block, pipe, socket, tty, other]')],
        ),
        (
            {"duration_file_types": ["everything"]},
            [
                (
                    ("duration_file_types", 0),
                    'unknown word "everything"; choose "block", "file", "other", "pipe", "socket" or "tty"',
                ),
            ],
        ),
        ({"syscalls": [["read"]]}, [(("syscalls", 0), 'unknown system call a list; did you mean "read"?')]),
    ],
)
def test_the_users_mistakes_are_named_with_a_repair(probes, chosen, mistakes):
    """All of them."""
    assert mistakes == check_settings(probes["syscalls"], chosen)


def test_a_request_with_mistakes_is_refused(probes):
    """Before anything is started."""
    with pytest.raises(ConfigError, match=r'^syscalls::syscalls::0: unknown system call "fsink"'):
        request_for([probes["syscalls"]], {"syscalls": {"syscalls": ["fsink"]}})


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_programs_count_in_pages_of_the_machine(probes, page):
    """arm64 has kernels with each of these."""
    request = request_for(list(probes.values()), machine=SizingMachine(2, page_bytes=page))

    assert page == request.macros["PAGE_BYTES"]


def test_programs_know_how_many_processors_share_a_map(probes):
    """Some kernels let the first of them take all of it."""
    assert 64 == request_for(list(probes.values()), machine=SizingMachine(64)).macros["PROCESSORS"]


def test_a_setting_chooses_which_words_of_an_attribute_a_metric_has(probes):
    """Calls without a file type always have a duration; other metrics have all types."""
    narrowed = with_settings(probes["syscalls"], {"duration_file_types": ["tty", "block"]})

    words = {metric.name: words_of(metric) for metric in narrowed.metrics}
    assert {0: "", 2: "block", 5: "tty"} == words["ebpf.syscall.duration"]
    assert {0: "", 1: "file", 2: "block", 3: "pipe", 4: "socket", 5: "tty", 6: "other"} == words["ebpf.syscall.calls"]


def test_by_default_durations_are_of_files_and_block_devices(probes):
    """Durations of calls that wait for other processes are optional."""
    [duration] = [each for each in with_settings(probes["syscalls"], {}).metrics if each.kind == "histogram"]

    assert {0: "", 1: "file", 2: "block"} == words_of(duration)


def words_of(metric):
    """The words of its file type, by value; empty where it has none."""
    return next((each.decode for each in metric.attributes if each.name == "file.type"), {})
