# SPDX-License-Identifier: Apache-2.0
"""Threads that make no calls and are moved to another cgroup (v2): what they do on mapped files is counted there."""

import mmap
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import until

from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import CgroupWatch

UNIFIED = [p for p in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")) if (p / "cgroup.controllers").exists()]
FAULTS = 64
AROUND = 1 << 16  # bytes that the kernel maps in one fault at most
FAULTER = """
import mmap, os, sys, time
pages, control = (mmap.mmap(os.open(path, os.O_RDWR), 0) for path in sys.argv[1:])
for step in range(1, 4):
    while control[0] < step:
        time.sleep(0.002)
    for fault in range(64):
        pages[((step - 1) * 64 + fault) << 16]
    control[1] = step
"""

pytestmark = [pytest.mark.parallel, pytest.mark.skipif(not UNIFIED, reason="no cgroup v2 hierarchy is mounted")]


@pytest.fixture
def cgroups():
    """Two, of which the first may be chosen."""
    folders = [UNIFIED[0] / f"sidecar-{name}-{os.getpid()}" for name in ("moved-from", "moved-to")]
    for folder in folders:
        folder.mkdir()
    yield folders
    for folder in folders:
        folder.rmdir()


@pytest.fixture
def faulter(file_of, tmp_path):
    """A process that makes no followed call between its steps; the function takes one step."""

    @contextmanager
    def faulter(folder):
        path = tmp_path / "control"
        path.write_bytes(bytes(4096))
        command = [sys.executable, "-S", "-E", "-c", FAULTER, file_of(3 * FAULTS * AROUND), path]
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as control, subprocess.Popen(command) as process:

            def step():
                control[0] += 1
                until(lambda: control[1] == control[0])

            try:
                enter(folder, process)
                yield process, step
            finally:
                control[0] = 3

    return faulter


def enter(folder, process):
    """Move the process into the cgroup."""
    (folder / "cgroup.procs").write_text(str(process.pid))


def faults(loaded, cgroup):
    """Those that were counted for the cgroup."""
    kernel_map = loaded.maps["cache_stats_map"]
    keys, values = kernel_map.read()
    mine = keys["cgroup"] == cgroup.stat().st_ino
    return int(values[mine][:, kernel_map.value_fields["mapped_faults"]].sum())


def test_faults_after_a_move_are_the_new_cgroups(attach, cgroups, faulter):
    """The former one's row stays as it is."""
    loaded = attach("page_cache", by_process=False, cgroup_hierarchy="v2")
    old, new = cgroups
    with faulter(old) as (process, step):
        step()
        before = faults(loaded, old)
        enter(new, process)
        step()
        after = faults(loaded, old), faults(loaded, new)
        enter(old, process)

    assert before >= FAULTS
    assert before == after[0]
    assert FAULTS <= after[1] < 2 * FAULTS


def test_a_thread_that_only_faults_is_checked_again_after_a_move(attach, cgroups, faulter):
    """Out of the chosen cgroup nothing is counted, and in it again all."""
    old, new = cgroups
    settings = TargetSettings(cgroups=[f"/{old.name}"])
    targets = kernel_targets(settings, Path("/proc"))
    loaded = attach("page_cache", by_process=False, cgroup_hierarchy="v2", targets=targets)
    CgroupWatch(settings.cgroups, UNIFIED[0], loaded.targets, loaded.generation, lambda _: None).update()
    counted = []
    with faulter(new) as (process, step):
        for folder in (new, old, new):
            enter(folder, process)
            step()
            counted.append((faults(loaded, old), faults(loaded, new)))

    assert (0, 0) == counted[0]
    assert FAULTS <= counted[1][0]
    assert counted[1] == counted[2]
