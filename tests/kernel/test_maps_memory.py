# SPDX-License-Identifier: Apache-2.0
"""Pressure in a memory cgroup of our own: the machine keeps its memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ftrace_lines import durations_between, thread_of

from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import CgroupWatch

WORKLOAD = Path(__file__).parent / "workloads" / "pressure.py"
KSWAPD, DIRECT, MEMCG = 0, 1, 2
MIB = 1 << 20
PAGE = 4096

pytestmark = pytest.mark.parallel


class Cgroup:
    """A memory cgroup with a limit, of whichever version."""

    def __init__(self, root):
        self.v1 = not (root / "cgroup.controllers").exists()
        self.folder = root / f"sidecar-test-{os.getpid()}"
        self.folder.mkdir()

    def limit(self, mebibytes):
        name = "memory.limit_in_bytes" if self.v1 else "memory.max"
        (self.folder / name).write_text(str(mebibytes * MIB))

    def events(self):
        """How often the limit was hit, and how many processes were killed."""
        if self.v1:
            kills = self._fields("memory.oom_control")["oom_kill"]
            return int((self.folder / "memory.failcnt").read_text()), kills
        fields = self._fields("memory.events")
        return fields["max"], fields["oom_kill"]

    def pages(self):
        """Pages of files that are charged now."""
        fields = self._fields("memory.stat")
        return (fields["cache"] if self.v1 else fields["file"]) // PAGE

    def scanned(self):
        """Scanned and reclaimed pages, as the kernel counts them; None where it does not report them."""
        fields = self._fields("memory.stat")
        names = ("pgscan_direct", "pgsteal_direct") if "pgscan_direct" in fields else ("pgscan", "pgsteal")
        return None if self.v1 else tuple(fields[name] for name in names)

    def _fields(self, name):
        lines = (self.folder / name).read_text().splitlines()
        return {key: int(value) for key, value in (line.split() for line in lines)}

    def remove(self):
        """The kernel needs a moment for what was just killed in it."""
        for _ in range(100):
            try:
                return self.folder.rmdir()
            except OSError:
                time.sleep(0.05)
        return self.folder.rmdir()


@pytest.fixture
def cgroup():
    """A cgroup of our own with the memory controller."""
    places = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
    root = next((p for p in places if (p / "memory.stat").exists() and (p / "cgroup.procs").exists()), None)
    if root is None:
        pytest.skip("no memory cgroups here")
    made = Cgroup(root)
    yield made
    made.remove()


@pytest.fixture
def press(tmp_path):
    """Run the workload to its end, however it ends, with a file or a new one: its process id and its exit code."""

    def press(action, cgroup, megabytes, path=tmp_path / "new"):
        command = [sys.executable, "-S", "-E", WORKLOAD, action, cgroup.folder, str(megabytes), path]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=120)
        return json.loads(done.stdout)["pid"], done.returncode

    return press


def test_reading_more_than_a_cgroup_may_hold_is_reclaim_by_memcg(attach_once, rows, cgroup, press, file_of):
    """Pages that were read and are gone were reclaimed; stalls are at most the times that the limit was hit."""
    loaded, path = attach_once("memory"), file_of(128 * MIB)
    cgroup.limit(32)

    pid, code = press("reads", cgroup, 0, path)

    counted = rows(loaded, "reclaim_stats", pid, reclaimer=MEMCG)
    gone = 128 * MIB // PAGE - cgroup.pages()
    assert 0 == code
    assert gone == pytest.approx(counted["reclaimed"][0], rel=0.03)
    assert counted["reclaimed"][0] <= counted["scanned"][0]
    assert 10 < sum(counted["duration"]) <= cgroup.events()[0]
    assert 0 < counted["duration_sum"][0]
    assert 0 == sum(sum(rows(loaded, "reclaim_stats", pid, reclaimer=other)["duration"]) for other in (KSWAPD, DIRECT))


def test_pages_equal_what_the_kernel_counts_for_the_cgroup(attach_once, rows, cgroup, press, file_of):
    """Where it counts them by cgroup (v2)."""
    if cgroup.scanned() is None:
        pytest.skip("the kernel counts reclaimed pages by cgroup only in v2")
    loaded, path = attach_once("memory"), file_of(64 * MIB)
    cgroup.limit(32)

    pid, _ = press("reads", cgroup, 0, path)

    counted = rows(loaded, "reclaim_stats", pid, reclaimer=MEMCG)
    assert cgroup.scanned() == pytest.approx((counted["scanned"][0], counted["reclaimed"][0]), rel=0.005)


def test_seconds_of_stalls_equal_those_that_the_kernel_traces(attach_once, rows, cgroup, press, traced):
    """From start to end of each reclaim, of a process whose pages have to be written first."""
    loaded = attach_once("memory")
    cgroup.limit(16)

    with traced("vmscan/mm_vmscan_memcg_reclaim_begin", "vmscan/mm_vmscan_memcg_reclaim_end") as lines:
        pid, _ = press("writes", cgroup, 128)

    counted = rows(loaded, "reclaim_stats", pid, reclaimer=MEMCG)
    stalls = durations_between([line for line in lines if thread_of(line) == pid], thread_of, "begin", "end")
    assert 10 < len(stalls) == sum(counted["duration"])
    assert sum(stalls) == pytest.approx(counted["duration_sum"][0], rel=0.1)


def test_stalled_processes_are_distinguished_and_leave_no_stall_open(attach, cgroup, press, file_of):
    """Two processes, each with its own entries."""
    loaded, path = attach("memory", by_process=False), file_of(64 * MIB)
    cgroup.limit(16)

    pids = {press("reads", cgroup, 0, path)[0] for _ in range(2)}

    keys, _ = loaded.maps["stalled_processes"].read()
    mine = keys["cgroup"] == cgroup.folder.stat().st_ino
    assert pids == set(keys["process"][mine].tolist())
    assert {0} == set(keys["tgid"].tolist())
    assert 0 == loaded.maps["stalls"].entries()
    assert {} == {name: lost for name, lost in loaded.drops.read().items() if lost}


@pytest.mark.parametrize("action", ["takes", "bursts"])
def test_an_oom_kill_belongs_to_the_victim(attach_once, cgroup, press, action):
    """To its process, its name and its cgroup, and there is one, however many threads it has."""
    loaded = attach_once("memory")
    cgroup.limit(16)

    pid, code = press(action, cgroup, 64)

    keys, values = loaded.maps["memory_stats"].read()
    killed = values[:, loaded.maps["memory_stats"].value_fields["oom_kills"]][:, 0]
    mine = (keys["cgroup"] == cgroup.folder.stat().st_ino) & (killed > 0)
    assert -9 == code
    assert 1 == cgroup.events()[1]
    assert [(pid, Path(sys.executable).name[:15].encode(), 1)] == [
        (key["tgid"], key["comm"], kills) for key, kills in zip(keys[mine], killed[mine].tolist(), strict=True)
    ]


@pytest.mark.parametrize("chosen", [True, False])
def test_pressure_and_page_faults_are_counted_for_chosen_cgroups_only(attach, cgroup, press, file_of, chosen):
    """All others leave no row."""
    pattern = f"/{cgroup.folder.name if chosen else 'another'}"
    targets = kernel_targets(TargetSettings(cgroups=[pattern], kernel_threads=False), Path("/proc"))
    loaded, path = attach("memory", "page_faults", by_process=False, targets=targets), file_of(64 * MIB)
    CgroupWatch([pattern], cgroup.folder.parent, loaded.targets, loaded.generation, print).update()
    cgroup.limit(16)

    press("reads", cgroup, 0, path)
    assert -9 == press("takes", cgroup, 64)[1]

    maps = ("reclaim_stats", "stalled_processes", "fault_stats", "memory_stats")
    counted = {name: set(loaded.maps[name].read()[0]["cgroup"].tolist()) for name in maps}
    assert dict.fromkeys(maps, {cgroup.folder.stat().st_ino} if chosen else set()) == counted


def test_a_dying_process_is_not_counted_as_killed_again(attach, rows, cgroup, press, dying):
    """The kernel picks a process that we have already killed, and only lets it end: that is no OOM kill."""
    loaded = attach("memory")
    cgroup.limit(16)
    process = dying(cgroup.folder, 10)

    press("takes", cgroup, 10)

    assert -9 == process.wait(timeout=60)  # only the kernel lets it run
    assert [0] == rows(loaded, "memory_stats", process.pid)["oom_kills"]
    assert [cgroup.events()[1]] == rows(loaded, "memory_stats")["oom_kills"]
