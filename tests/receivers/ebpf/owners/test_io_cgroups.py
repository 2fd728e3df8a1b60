# SPDX-License-Identifier: Apache-2.0
"""Cgroups of I/O that are numbered in a hierarchy of their own."""

import pytest

from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, find_hierarchy
from ebpf_sidecar.receivers.ebpf.owners.io_cgroups import OF_IO, with_io


def hierarchies(root, *names):
    """Version 1 hierarchies with a directory for one container, of whatever number."""
    for name in names:
        (root / name / "docker" / "abc").mkdir(parents=True)
        (root / name / "cgroup.procs").touch()
    return CgroupTree(find_hierarchy(root))


def number(path):
    """The number by which the kernel knows the directory."""
    return path.stat().st_ino


def test_a_marked_number_is_a_directory_of_the_io_hierarchy(tmp_path):
    """The same number means another directory in the hierarchy that rows are kept by, or none."""
    tree = with_io(hierarchies(tmp_path, "memory", "blkio"), tmp_path)
    (tmp_path / "blkio" / "limited").mkdir()
    limited = number(tmp_path / "blkio" / "limited")

    tree.learn()

    assert ("/limited", "") == (tree.path(limited | OF_IO), tree.path(limited))
    assert (True, False) == (tree.knows(limited | OF_IO), tree.knows(limited))


def test_a_container_has_one_path_for_both_numbers(tmp_path):
    """So its row is one, whichever hierarchy reported it."""
    tree = with_io(hierarchies(tmp_path, "memory", "blkio"), tmp_path)
    tree.learn()
    ids = [number(tmp_path / name / "docker" / "abc") for name in ("memory", "blkio")]

    assert ids[0] != ids[1]
    assert ["/docker/abc"] * 2 == [tree.path(ids[0]), tree.path(ids[1] | OF_IO)]


def test_io_on_version_2_beside_version_1_is_looked_up_there(tmp_path):
    """A hybrid host whose service manager gave io to the unified hierarchy."""
    tree = with_io(hierarchies(tmp_path, "memory"), tmp_path)
    (tmp_path / "unified" / "app").mkdir(parents=True)
    tree.learn()

    assert "/app" == tree.path(number(tmp_path / "unified" / "app") | OF_IO)


@pytest.mark.parametrize("made", ["cgroup.controllers", "blkio/cgroup.procs"])
def test_where_rows_are_kept_by_the_same_hierarchy_nothing_is_marked(tmp_path, made):
    """The unified one, or that of blkio where there is no other."""
    (tmp_path / made).parent.mkdir(exist_ok=True)
    (tmp_path / made).touch()
    tree = CgroupTree(find_hierarchy(tmp_path))

    assert tree is with_io(tree, tmp_path)
