# SPDX-License-Identifier: Apache-2.0
"""From cgroup ids and command names to the parts of a row."""

import os

import numpy as np
import pytest

from ebpf_sidecar.receivers.ebpf.owners import attribution as module
from ebpf_sidecar.receivers.ebpf.owners import cgroup_tree
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import UNKNOWN, CgroupTree, Hierarchy, directories, find_hierarchy
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import chosen_ids

KEYS = np.dtype([("cgroup", "u8"), ("tgid", "u4"), ("generation", "u4"), ("comm", "S16")])
CONTAINER = "kubepods.slice/kubepods-pod1.slice/cri-containerd-" + 64 * "a" + ".scope"


@pytest.fixture
def tree(tmp_path):
    """A unified hierarchy with a container that has a cgroup of its own inside."""
    (tmp_path / CONTAINER / "system.slice").mkdir(parents=True)
    (tmp_path / "cgroup.controllers").touch()
    return CgroupTree(find_hierarchy(tmp_path))


def inode(tree, path):
    """The kernel id of a cgroup."""
    return (tree.hierarchy.root / path).stat().st_ino


def keys(*owners):
    """An array of keys from (cgroup, tgid, comm)."""
    return np.array([(cgroup, tgid, 0, comm) for cgroup, tgid, comm in owners], KEYS)


def test_a_nested_cgroup_belongs_to_its_container(tree):
    """Grouped by container, what a systemd inside a container does counts for the container."""
    attribution = Attribution(tree, [GroupBy.CONTAINER, GroupBy.EXECUTABLE])
    nested = inode(tree, f"{CONTAINER}/system.slice")

    assert [(f"/{CONTAINER}", "java")] == attribution.owners(keys((nested, 7, b"java")))


def test_grouped_by_cgroup_and_pid_nothing_is_merged(tree):
    """The exact cgroup and the process are kept where requested."""
    attribution = Attribution(tree, [GroupBy.CGROUP, GroupBy.PID])
    nested = inode(tree, f"{CONTAINER}/system.slice")

    assert [(f"/{CONTAINER}/system.slice", 7)] == attribution.owners(keys((nested, 7, b"java")))


def test_what_belongs_to_a_cgroup_alone_has_neither_name_nor_process(tree):
    """I/O that a kernel thread passes on for a cgroup: the empty word means that an attribute is absent."""
    attribution = Attribution(tree, [GroupBy.CGROUP, GroupBy.EXECUTABLE, GroupBy.PID])

    assert [(f"/{CONTAINER}", "", "")] == attribution.owners(keys((inode(tree, CONTAINER), 0, b"")))


def test_a_cgroup_made_later_is_found(tree):
    """The tree is walked again when an unknown id appears."""
    attribution = Attribution(tree, [GroupBy.CGROUP])
    attribution.owners(keys((inode(tree, "."), 1, b"init")))
    (tree.hierarchy.root / "late").mkdir()

    assert [("/late",)] == attribution.owners(keys((inode(tree, "late"), 1, b"sh")))


def test_a_removed_cgroup_keeps_its_path(tree):
    """What a container did shortly before its end is still attributed."""
    attribution = Attribution(tree, [GroupBy.CGROUP])
    gone = tree.hierarchy.root / "gone"
    gone.mkdir()
    identity = gone.stat().st_ino
    attribution.owners(keys((identity, 1, b"sh")))
    gone.rmdir()

    assert [("/gone",)] == attribution.owners(keys((identity, 1, b"sh")))


def test_what_has_gone_is_remembered_up_to_a_bound_and_what_lives_always(tmp_path, monkeypatch):
    """Cgroups come and go for months: the latest of those that have gone are known, and all that are there."""
    monkeypatch.setattr(cgroup_tree, "_REMEMBERED", 3)
    living = [tmp_path / f"living-{number}" for number in range(5)]
    for folder in living:
        folder.mkdir()
    tree, gone = CgroupTree(Hierarchy("v2", tmp_path)), []
    for number in range(10):
        folder = tmp_path / f"gone-{number}"
        folder.mkdir()
        gone.append(folder.stat().st_ino)
        tree.learn()
        folder.rename(tmp_path.parent / f"elsewhere-{number}")  # so that its inode number is not used again
    tree.learn()

    assert all(tree.knows(folder.stat().st_ino) for folder in (tmp_path, *living))
    assert [False] * 7 + [True] * 3 == [tree.knows(identity) for identity in gone]


def test_cgroups_that_differ_in_bytes_that_are_no_text_stay_apart(tree):
    """Their paths show such bytes, as command names do, also where a target chooses them."""
    folders = [tree.hierarchy.root / os.fsdecode(name) for name in (b"raw\xff", b"raw\xfe")]
    for folder in folders:
        folder.mkdir()
    ids = [folder.stat().st_ino for folder in folders]

    found = Attribution(tree, [GroupBy.CGROUP]).owners(keys(*((identity, 1, b"sh") for identity in ids)))

    assert [(r"/raw\xff",), (r"/raw\xfe",)] == found
    assert {ids[0]: r"/raw\xff"} == chosen_ids([r"/raw\xff"], directories(tree.hierarchy.root))


def test_an_unknown_cgroup_is_empty_text_and_walked_for_once(tree, monkeypatch):
    """A cgroup that cannot be found is not searched for again at each tick."""
    attribution = Attribution(tree, [GroupBy.CGROUP])
    walks = []
    monkeypatch.setattr(tree, "learn", lambda: walks.append(1))

    assert [(UNKNOWN,)] * 2 == [attribution.owners(keys((2**60, 1, b"sh")))[0] for _ in range(2)]
    assert [1] == walks


def test_several_unknown_cgroups_are_walked_for_once_each_however_they_are_requested(tree, monkeypatch):
    """One after the other, as names are reported, or together; ids that never return are forgotten."""
    monkeypatch.setattr(module, "MAX_ASKED", 8)
    attribution = Attribution(tree, [GroupBy.CGROUP])
    walks = []
    monkeypatch.setattr(tree, "learn", lambda: walks.append(1))
    for _ in range(5):
        for cgroup in (2**60, 2**61, 2**62):
            attribution.place(cgroup, 1)
        attribution.owners(keys((2**62, 1, b"sh"), (2**61, 1, b"sh")))

    assert 3 == len(walks)
    for cgroup in range(2**50, 2**50 + 100):
        attribution.place(cgroup, 1)
    assert 8 >= len(attribution._asked)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (["cgroup.controllers"], ("v2", ".")),
        (["memory/cgroup.procs", "unified/cgroup.procs"], ("memory", "memory")),
        (["cpu,cpuacct/cgroup.procs"], ("cpu", "cpu,cpuacct")),
        ([], ("v2", ".")),
    ],
    ids=["unified", "hybrid", "v1 without memory", "nothing mounted"],
)
def test_the_hierarchy_is_the_one_in_which_containers_live(tmp_path, made, expected):
    """On v1 and hybrid hosts that is a v1 controller's, memory first."""
    for path in made:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()

    assert Hierarchy(expected[0], tmp_path / expected[1]) == find_hierarchy(tmp_path)


@pytest.mark.parametrize(
    ("comm", "expected"),
    [(b"java", "java"), (b"caf\xc3\xa9", "café"), (b"bad\xff", "bad\\xff"), (b"", "")],
)
def test_a_command_name_is_always_text(tree, comm, expected):
    """Bytes that are no UTF-8 are shown, not dropped, so that different names stay different rows."""
    assert [(expected,)] == Attribution(tree, [GroupBy.EXECUTABLE]).owners(keys((1, 1, comm)))
