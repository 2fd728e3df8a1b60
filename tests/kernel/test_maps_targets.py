# SPDX-License-Identifier: Apache-2.0
"""Targets on the running kernel: matching processes are counted, all others have no row."""

import ctypes
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import Hierarchy, find_hierarchy
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import CgroupWatch

HIERARCHY = find_hierarchy(Path("/sys/fs/cgroup"))
ROOT = HIERARCHY.root
UNIFIED = [p for p in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")) if (p / "cgroup.controllers").exists()]
PROC = Path("/proc")
READS = 64
READER = """
import os, sys
for line in sys.stdin:
    descriptor = os.open(line.strip(), os.O_RDONLY)
    for _ in range(64):
        os.pread(descriptor, 512, 0)
    os.close(descriptor)
    print("done", flush=True)
"""
IN_A_NAMESPACE = ("unshare", "--pid", "--fork")

needs_unshare = pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare (util-linux) is not installed")

pytestmark = pytest.mark.parallel


@pytest.fixture
def choose(attach):
    """Load probes for some targets; the loaded probes and the watch over their cgroups."""

    def choose(*more, hierarchy=HIERARCHY, **chosen):
        settings = TargetSettings(**{"kernel_threads": False, **chosen})
        targets = kernel_targets(settings, PROC)
        loaded = attach("page_cache", "syscalls", *more, by_process=False, targets=targets,
                        cgroup_hierarchy=hierarchy.controller)  # fmt: skip
        if loaded.targets is None:
            return loaded, None
        watch = CgroupWatch(settings.cgroups, hierarchy.root, loaded.targets, loaded.generation, lambda _: None)
        watch.update()
        return loaded, watch

    return choose


@pytest.fixture
def cgroup():
    """Make cgroups; they are removed when the test ends, the innermost first."""
    made = []

    def cgroup(name, root=ROOT):
        folder = root / name
        folder.mkdir()
        made.append(folder)
        return folder

    yield cgroup
    for folder in reversed(made):
        folder.rmdir()


@pytest.fixture
def reader(tmp_path):
    """A process that reads a cached file 64 times on request; in a cgroup, under a name."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)

    @contextmanager
    def reader(folder=None, name="reader", before=()):
        program = tmp_path / name
        if not program.exists():
            program.symlink_to(Path(sys.executable).resolve())
        join = (lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))) if folder else None
        command = [*before, str(program), "-S", "-E", "-c", READER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, preexec_fn=join, text=True, **pipes) as process:  # noqa: PLW1509 # no threads

            def read():
                process.stdin.write(f"{path}\n")
                process.stdin.flush()
                assert "done\n" == process.stdout.readline()

            yield read
            process.stdin.close()

    return reader


def counted(loaded, **where):
    """Pages looked up and pread calls, of the rows that fit ``where``."""
    keys, values = loaded.maps["cache_stats_map"].read()
    pages = int(values[fitting(keys, where)][:, 0].sum())
    kernel_map = loaded.maps["syscall_stats"]
    keys, values = kernel_map.read()
    calls = values[fitting(keys, {**where, "direction": 1})][:, kernel_map.value_fields["bytes"]].sum() // 512
    return pages, int(calls)


def fitting(keys, where):
    """Which keys have these fields."""
    mask = np.ones(len(keys), bool)
    for field, value in where.items():
        mask &= keys[field] == value
    return mask


def owners(loaded):
    """Cgroup and name of every row of every probe."""
    names = ("cache_stats_map", "syscall_stats", "syscall_errors", "fadvise_stats", "block_stats", "block_errors")
    maps = [loaded.maps[name] for name in names if name in loaded.maps]
    return {(int(key["cgroup"]), bytes(key["comm"])) for kernel_map in maps for key in kernel_map.read()[0]}


def test_only_the_chosen_cgroup_and_what_is_nested_in_it_is_counted(choose, cgroup, reader):
    """A sibling, our own process and the rest of the machine leave no row."""
    chosen, sibling = cgroup("sidecar-chosen"), cgroup("sidecar-sibling")
    nested = cgroup("sidecar-chosen/nested")
    loaded, _ = choose("block_io", cgroups=["/sidecar-chosen"])

    for folder in (chosen, sibling, nested):
        with reader(folder) as read:
            read()

    mine, inner = chosen.stat().st_ino, nested.stat().st_ino
    assert {mine, inner} == {cgroup for cgroup, _ in owners(loaded)}
    for inode in (mine, inner):
        pages, calls = counted(loaded, cgroup=inode)
        assert pages >= READS
        assert calls >= READS


@pytest.mark.parametrize("known_by", ["container", "number"])
def test_a_cgroup_can_be_chosen_by_its_containers_id_and_by_its_number(choose, cgroup, reader, known_by):
    """Twelve digits of the id are enough, as docker ps shows them."""
    cgroup("sidecar-docker")
    chosen, other = cgroup(f"sidecar-docker/{'4f' * 32}"), cgroup(f"sidecar-docker/{'5e' * 32}")
    loaded, _ = choose(cgroups=["4f" * 6 if known_by == "container" else str(chosen.stat().st_ino)])
    for folder in (chosen, other):
        with reader(folder) as read:
            read()

    assert {chosen.stat().st_ino} == {cgroup for cgroup, _ in owners(loaded)}
    assert READS <= counted(loaded)[1]


def test_a_cgroup_made_later_is_picked_up_with_the_processes_that_run_in_it(choose, cgroup, reader):
    """Their threads were passed over before; the next reading makes the programs check them again."""
    loaded, watch = choose(cgroups=["/sidecar-late*"])
    late = cgroup("sidecar-late-1")
    with reader(late) as read:
        read()
        before = counted(loaded)
        watch.update()
        read()
        pages, calls = counted(loaded, cgroup=late.stat().st_ino)

    assert (0, 0) == before
    assert READS <= pages < 2 * READS
    assert READS == calls


@pytest.mark.skipif(not UNIFIED, reason="no cgroup v2 hierarchy is mounted")
def test_a_moved_process_is_checked_again(choose, cgroup, reader):
    """On cgroup v2 at its next call, into a chosen cgroup and out of it; on v1 only at exec."""
    [root] = UNIFIED
    chosen, other = cgroup("sidecar-chosen", root), cgroup("sidecar-other", root)
    loaded, _ = choose(hierarchy=Hierarchy("v2", root), cgroups=["/sidecar-chosen"])
    with reader(other) as read:
        read()
        before = counted(loaded)
        move(other, chosen)
        read()
        inside = counted(loaded)
        move(chosen, other)
        read()

    assert (0, 0) == before
    assert READS == inside[1] == counted(loaded)[1]


def move(origin, goal):
    """All processes of one cgroup to another."""
    for pid in (origin / "cgroup.procs").read_text().split():
        (goal / "cgroup.procs").write_text(pid)


def test_only_the_chosen_executable_is_counted(choose, reader):
    """By the name in /proc/<pid>/comm, truncated to 15 bytes."""
    loaded, _ = choose("block_io", executables=["a-rather-long-name-of-a-program", "absent"])

    for name in ("a-rather-long-name-of-a-program", "another"):
        with reader(name=name) as read:
            read()

    assert {b"a-rather-long-n"} == {comm for _, comm in owners(loaded)}
    assert READS <= counted(loaded)[1]


def test_both_lists_must_be_met(choose, cgroup, reader):
    """The chosen executable outside the chosen cgroup is left out, and the reverse."""
    folder = cgroup("sidecar-chosen")
    loaded, _ = choose(cgroups=["/sidecar-chosen"], executables=["both"])

    for place, name in ((folder, "both"), (folder, "other"), (None, "both")):
        with reader(place, name) as read:
            read()

    assert {(folder.stat().st_ino, b"both")} == owners(loaded)


def test_a_process_that_takes_a_chosen_name_is_counted_from_then_on(choose, tmp_path):
    """prctl(PR_SET_NAME); it made calls before."""
    loaded, _ = choose(executables=["renamed"])
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)
    child = os.fork()
    if child == 0:
        descriptor = os.open(path, os.O_RDONLY)
        os.pread(descriptor, 512, 0)
        ctypes.CDLL(None).prctl(15, b"renamed", 0, 0, 0)
        for _ in range(READS):
            os.pread(descriptor, 512, 0)
        os._exit(0)
    os.waitpid(child, 0)

    assert {b"renamed"} == {comm for _, comm in owners(loaded)}
    assert READS == counted(loaded)[1]


@needs_unshare
def test_only_the_chosen_pid_namespace_is_counted(choose, reader):
    """Ours; a process in another namespace is left out."""
    loaded, _ = choose(pid_namespaces=["self"])

    with reader(name="inside") as read:
        read()
    with reader(name="outside", before=IN_A_NAMESPACE) as read:
        read()

    names = {comm for _, comm in owners(loaded)}
    assert b"inside" in names
    assert b"outside" not in names


@needs_unshare
def test_another_pid_namespace_can_be_chosen_by_its_number(choose, reader):
    """As ls -L -i shows it."""
    with reader(name="outside", before=IN_A_NAMESPACE) as read, reader(name="inside") as read_inside:
        read()
        [folder] = [path.parent for path in PROC.glob("[0-9]*/comm") if path.read_text() == "outside\n"]
        loaded, _ = choose(pid_namespaces=[(folder / "ns/pid").stat().st_ino])
        read()
        read_inside()

    assert {b"outside"} == {comm for _, comm in owners(loaded)}
    assert READS <= counted(loaded)[1]


@pytest.mark.parametrize("wanted", [True, False])
def test_kernel_threads_are_counted_where_they_are_wanted(choose, tmp_path, wanted):
    """Dirty pages that a kernel thread writes back."""
    loaded, _ = choose("block_io", executables=["nobody has this"], kernel_threads=wanted)
    (tmp_path / "dirty").write_bytes(os.urandom(4 << 20))
    os.sync()

    found = {comm for _, comm in owners(loaded)}
    assert wanted == (b"kworker" in found)
    assert Path(sys.executable).name.encode() not in found
    assert wanted or not found


def test_without_targets_the_state_of_a_thread_is_as_small_as_before(attach):
    """Nothing of it is compiled then."""
    targets = kernel_targets(TargetSettings(executables=["x"]), PROC)
    everybody, chosen = attach("page_cache"), attach("page_cache", targets=targets)

    assert everybody.targets is None
    assert everybody.maps["threads"].columns < chosen.maps["threads"].columns
