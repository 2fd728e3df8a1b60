# SPDX-License-Identifier: Apache-2.0
"""Cgroups on the running kernel that are gone before anything reads them: what ran in them has their paths."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy, directories, find_hierarchy
from ebpf_sidecar.receivers.ebpf.owners.new_cgroups import NewCgroups
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import CgroupWatch

HIERARCHY = find_hierarchy(Path("/sys/fs/cgroup"))
COMMAND = [sys.executable, "-S", "-E", "-c", "import os; os.pread(os.open('/proc/version', os.O_RDONLY), 9, 0)"]

pytestmark = pytest.mark.parallel


def short_lived(folder, run=None):
    """Make a cgroup, run something in it, and remove it; its inode."""
    folder.mkdir()
    inode = folder.stat().st_ino
    if run:
        subprocess.run(run, preexec_fn=lambda: (folder / "cgroup.procs").write_text(str(os.getpid())), check=True)
    folder.rmdir()
    return inode


@pytest.fixture
def parent():
    """A cgroup of our own, made after the programs were attached."""
    folder = HIERARCHY.root / f"sidecar-short-{os.getpid()}"
    yield folder
    folder.rmdir()


def test_what_ran_in_cgroups_that_are_gone_has_their_paths(attach_once, parent):
    """Nested ones, made and removed between two readings; a name of the greatest length, and one that is no text."""
    loaded = attach_once("syscalls", by_process=False)
    tree = CgroupTree(HIERARCHY, NewCgroups(loaded.new_cgroups).take)
    tree.learn()
    parent.mkdir()
    names = ["one", "n" * 255, os.fsdecode(b"raw\xff")]
    made = {short_lived(parent / name, COMMAND): name for name in names}

    keys, _ = loaded.maps["syscall_stats"].read()
    found = dict(zip(keys["cgroup"].tolist(), Attribution(tree, [GroupBy.CGROUP]).owners(keys), strict=True))
    gone = {f"{parent}/{name}" for name in names} - {path for path, _ in directories(HIERARCHY.root)}
    assert 3 == len(gone)
    shown = {inode: f"/{parent.name}/{name}".encode(errors="surrogateescape") for inode, name in made.items()}
    assert {inode: (path.decode(errors="backslashreplace"),) for inode, path in shown.items()} == {
        inode: found[inode] for inode in made
    }


def test_cgroups_of_other_hierarchies_are_ignored(attach_once, parent):
    """The kernel reports each separately, and ids are unique in one of them only."""
    others = [place for place in (HIERARCHY.root.parent / "pids", HIERARCHY.root.parent / "unified") if place.exists()]
    if HIERARCHY.controller == "v2" or not others:
        pytest.skip("there is no other hierarchy")
    loaded = attach_once("syscalls", by_process=False)
    new = NewCgroups(loaded.new_cgroups)
    names = [f"sidecar-elsewhere-{number}" for number, _ in enumerate(others)]
    for place, name in zip(others, names, strict=True):
        short_lived(place / name)
    parent.mkdir()

    reported = [each.name.decode() for each in new.take() if each.name.startswith(b"sidecar-")]
    assert parent.name in reported
    assert not set(names) & set(reported)


def test_ids_on_cgroup_v2_are_reported_too(attach):
    """Also next to v1 controllers, where the tree is a different one."""
    roots = [
        place
        for place in (HIERARCHY.root, HIERARCHY.root.parent / "unified")
        if (place / "cgroup.controllers").exists()
    ]
    if not roots:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    loaded = attach("page_cache", by_process=False, cgroup_hierarchy="v2")
    tree = CgroupTree(Hierarchy("v2", roots[0]), NewCgroups(loaded.new_cgroups).take)
    tree.learn()
    inode = short_lived(roots[0] / "sidecar-short-unified")
    tree.notice()

    assert "/sidecar-short-unified" == tree.path(inode)


def test_more_than_there_is_room_for_is_counted_and_what_lives_is_found(attach, parent):
    """With the smallest map, 64; of those that are gone the kernel has reported as many as fit."""
    loaded = attach("page_faults", by_process=False, budget=1 << 20)
    room, tree = loaded.new_cgroups.max_entries, CgroupTree(HIERARCHY, NewCgroups(loaded.new_cgroups).take)
    tree.learn()
    parent.mkdir()
    made = [short_lived(parent / f"short-{number}") for number in range(room)]
    living = parent / "living"
    living.mkdir()
    inode = living.stat().st_ino
    tree.notice()
    known = sum(map(tree.knows, made))
    tree.learn()
    path = tree.path(inode)
    living.rmdir()

    assert loaded.drops.read()["new_cgroups"] >= 2
    assert 0 < known < room
    assert f"/{parent.name}/living" == path


@pytest.mark.parametrize("pattern", ["/{}", "/{}*/*"], ids=["parent", "children"])
def test_a_chosen_cgroup_that_comes_and_goes_between_two_readings_is_counted(attach, parent, pattern):
    """Its parent was chosen, or whatever is made there; no set keeps it when it has gone."""
    parent.mkdir()
    targets = kernel_targets(TargetSettings(cgroups=[pattern.format(parent.name)]), Path("/proc"))
    loaded = attach("syscalls", by_process=False, targets=targets)
    root, new = HIERARCHY.root, NewCgroups(loaded.new_cgroups)
    watch = CgroupWatch([pattern.format(parent.name)], root, loaded.targets, loaded.generation, lambda _: None)
    watch.update()
    inode = short_lived(parent / "short", COMMAND)
    watch.update({each.id for each in new.take()})

    keys, _ = loaded.maps["syscall_stats"].read()
    assert {inode} == set(keys["cgroup"].tolist())
    assert inode not in loaded.targets.read()[0]["key"].tolist()
