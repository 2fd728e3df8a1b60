# SPDX-License-Identifier: Apache-2.0
"""A cgroup at its limit, on cgroup v2 as in guests: against the cgroup's own files."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ftrace_lines import BETWEEN_NS, durations_between, thread_of

from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, find_hierarchy
from ebpf_sidecar.receivers.ebpf.owners.new_cgroups import NewCgroups

WORKLOAD = Path(__file__).parents[1] / "workloads" / "pressure.py"
MEMCG = 2
MIB = 1 << 20


@pytest.fixture
def cgroup():
    """A cgroup of our own that may have 32 MiB."""
    folder = Path("/sys/fs/cgroup/sidecar-test")
    folder.mkdir()
    (folder / "memory.max").write_text(str(32 * MIB))
    yield folder
    until = time.monotonic() + 30
    while any(fields(folder / "cgroup.events").values()) and time.monotonic() < until:
        time.sleep(0.1)
    folder.rmdir()


def fields(path):
    """A file of names and numbers."""
    return {name: int(value) for name, value in map(str.split, path.read_text().splitlines())}


def press(action, cgroup, megabytes, path=""):
    """Run the workload in the cgroup to its end: its process id and its exit code."""
    command = [sys.executable, "-S", "-E", WORKLOAD, action, cgroup, str(megabytes), path]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=120)
    return json.loads(done.stdout)["pid"], done.returncode


@pytest.mark.proves("ebpf.memory.lru.pages_scanned", "ebpf.memory.lru.pages_reclaimed", oracle="memory.stat")
@pytest.mark.proves("ebpf.memory.direct_reclaim.duration", oracle="memory.events")
@pytest.mark.proves("ebpf.memory.direct_reclaim.duration", oracle="mm_vmscan_memcg_reclaim_begin and _end")
def test_reclaim_at_the_limit_equals_what_the_cgroup_counts(load_once, rows, cgroup, tmp_path, traced):
    """A file of twice the limit is read: its pages are clean, and leave one after the other."""
    loaded = load_once("memory")
    path = tmp_path / "clean"
    with path.open("wb") as file:
        file.write(bytes(64 * MIB))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    with traced("vmscan/mm_vmscan_memcg_reclaim_begin", "vmscan/mm_vmscan_memcg_reclaim_end") as lines:
        pid, code = press("reads", cgroup, 0, path)

    stat, counted = fields(cgroup / "memory.stat"), rows(loaded, "reclaim_stats", pid, reclaimer=MEMCG)
    assert 0 == code
    assert 1000 < stat["pgsteal"]
    assert (stat["pgscan"], stat["pgsteal"]) == (counted["scanned"][0], counted["reclaimed"][0])
    stalls = durations_between([line for line in lines if thread_of(line) == pid], thread_of, "begin", "end")
    assert 0 < len(stalls) == sum(counted["duration"]) <= fields(cgroup / "memory.events")["max"]
    assert sum(stalls) == pytest.approx(counted["duration_sum"][0], rel=0.1, abs=len(stalls) * BETWEEN_NS)


@pytest.mark.proves("ebpf.memory.oom_kills", oracle="memory.events")
def test_a_victim_of_many_threads_is_killed_once(load_once, rows, cgroup):
    """Each thread is killed, and one process is dead."""
    loaded = load_once("memory")

    pid, code = press("bursts", cgroup, 64)

    assert -9 == code
    assert 1 == fields(cgroup / "memory.events")["oom_kill"]
    assert [1] == rows(loaded, "memory_stats", pid)["oom_kills"]


@pytest.mark.proves("ebpf.memory.oom_kills", oracle="the path of a cgroup that is gone")
def test_a_victim_is_named_after_a_cgroup_that_is_gone(load_once, cgroup):
    """As in a crash loop: container and pod were made and removed between two readings."""
    loaded = load_once("memory")
    root = Path("/sys/fs/cgroup")
    tree = CgroupTree(find_hierarchy(root), NewCgroups(loaded.new_cgroups).take)
    tree.learn()
    pod, container = cgroup / "pod", cgroup / "pod" / "container"
    for above in (cgroup, pod):
        above.mkdir(exist_ok=True)
        (above / "cgroup.subtree_control").write_text("+memory")
    container.mkdir()

    pid, code = press("bursts", container, 64)
    container.rmdir()
    pod.rmdir()

    kernel_map = loaded.maps["memory_stats"]
    keys, values = kernel_map.read()
    killed = keys[(values[:, kernel_map.value_fields["oom_kills"]] > 0).all(axis=1) & (keys["tgid"] == pid)]
    assert -9 == code
    assert [("/sidecar-test/pod/container",)] == Attribution(tree, [GroupBy.CGROUP]).owners(killed)


@pytest.mark.proves("ebpf.memory.oom_kills", oracle="memory.events")
def test_a_dying_process_is_not_counted_as_killed_again(load_once, rows, cgroup, dying):
    """The kernel picks a process that we have already killed, and only lets it end: that is no OOM kill."""
    loaded = load_once("memory")
    (before,) = rows(loaded, "memory_stats")["oom_kills"]
    process = dying(cgroup, 22)

    press("takes", cgroup, 18)

    assert 0 < fields(cgroup / "memory.events")["oom"]  # there was a choice to be made
    assert -9 == process.wait(timeout=60)  # only the kernel lets it run
    assert [0] == rows(loaded, "memory_stats", process.pid)["oom_kills"]
    (killed,) = rows(loaded, "memory_stats")["oom_kills"]
    assert fields(cgroup / "memory.events")["oom_kill"] == killed - before
