# SPDX-License-Identifier: Apache-2.0
"""Cgroups that the kernel reports: their paths are known however short they lived, and memory stays bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.owners import cgroup_tree
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy
from ebpf_sidecar.receivers.ebpf.owners.io_cgroups import with_io
from ebpf_sidecar.receivers.ebpf.owners.new_cgroups import OF_IO, NewCgroup, NewCgroups

OWNERS = np.dtype([("cgroup", "u8"), ("tgid", "u4"), ("generation", "u4"), ("comm", "S16")])


class PlayedMap:
    """The kernel's map: what was made is there until it is taken out."""

    def __init__(self):
        self.made = {}

    def make(self, identity, parent, name):
        self.made[identity] = [parent, *np.frombuffer(name.ljust(256, b"\0"), np.uint64).tolist()]
        return identity

    def read(self):
        return np.array([*self.made], np.uint64).view([("key", "u8")]), np.array([*self.made.values()], np.uint64)

    def delete(self, keys):
        for key in keys["key"].tolist():
            del self.made[key]


@pytest.fixture
def kernel():
    """What the kernel reports."""
    return PlayedMap()


@pytest.fixture
def tree(kernel, tmp_path):
    """A hierarchy that was walked when the probes were attached, and the kernel's word on what came later."""
    tree = CgroupTree(Hierarchy("v2", tmp_path), NewCgroups(kernel).take)
    tree.learn()
    return tree


def root_of(tree):
    """The kernel id of the hierarchy's root."""
    return tree.hierarchy.root.stat().st_ino


def paths(tree, *ids):
    """The labels of these cgroups' rows."""
    keys = np.array([(identity, 1, 0, b"sh") for identity in ids], OWNERS)
    return [path for (path,) in Attribution(tree, [GroupBy.CGROUP]).owners(keys)]


def test_what_came_and_went_between_two_readings_has_its_path(kernel, tree):
    """Nested ones as well, in whatever order the map has them; bytes that are no text are shown."""
    inner = kernel.make(2**40 + 2, 2**40 + 1, b"nested")
    outer = kernel.make(2**40 + 1, root_of(tree), b"docker-ff.scope")
    raw = kernel.make(2**40 + 3, root_of(tree), b"raw\xff")

    assert ["/docker-ff.scope/nested", "/docker-ff.scope", r"/raw\xff"] == paths(tree, inner, outer, raw)
    assert {} == kernel.made


def test_paths_start_where_the_reader_sees_the_hierarchy_start(kernel, tree):
    """In a cgroup namespace the root has a parent that is not seen: what is made there stays unknown."""
    foreign, ours = kernel.make(2**40, 7, b"foreign"), kernel.make(2**40 + 1, root_of(tree), b"ours")

    assert ["", "/ours"] == paths(tree, foreign, ours)


def test_an_unreported_parent_is_searched_for(kernel, tree):
    """The kernel's map may have been full when it was made."""
    (tree.hierarchy.root / "pod").mkdir()
    child = kernel.make(2**40, (tree.hierarchy.root / "pod").stat().st_ino, b"container")

    assert ["/pod/container"] == paths(tree, child)


def test_the_ids_of_a_reading_are_those_made_since_the_one_before(kernel, tree):
    """Whether they were taken in at its start or during the one before; each once."""
    first = kernel.make(2**40, root_of(tree), b"a")
    started = [tree.start_reading()]
    second = kernel.make(2**40 + 1, root_of(tree), b"b")
    paths(tree, second)
    started += [tree.start_reading(), tree.start_reading()]

    assert [{first}, {second}, set()] == started


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_names_are_known_for_a_reading_more_and_memory_is_bounded(tmp_path_factory, made):
    """Of any number of cgroups that are gone at once, those of this reading and of the one before are known."""
    kernel, folder = PlayedMap(), tmp_path_factory.mktemp("cgroups")
    tree, next_id, before = CgroupTree(Hierarchy("v2", folder), NewCgroups(kernel).take), 2**40, []
    tree.learn()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cgroup_tree, "_REMEMBERED", 8)
        for count in made:
            ids = [kernel.make(next_id + n, root_of(tree), b"c%d" % (next_id + n)) for n in range(count)]
            next_id += count
            tree.start_reading()

            assert all(tree.knows(identity) for identity in [*before, *ids])
            assert len(tree) <= 1 + 8 + max(8, len(ids) + 2 * max(made))
            before = ids


def test_what_is_made_in_the_hierarchy_of_io_is_found_there(kernel, tree):
    """The same number may mean another cgroup in the rows' own hierarchy, whichever is looked up first."""
    (tree.hierarchy.root / "blkio").mkdir()
    new = NewCgroups(kernel)
    own = CgroupTree(Hierarchy("memory", tree.hierarchy.root), new.take)
    both = with_io(own, tree.hierarchy.root, new.take_of_io)
    both.learn()
    parent = (tree.hierarchy.root / "blkio").stat().st_ino
    here, there = kernel.make(7, root_of(tree), b"here"), kernel.make(OF_IO | 7, OF_IO | parent, b"there")

    assert ["/there", "/here"] == paths(both, there, here)
    assert {here} == both.start_reading()


def test_without_the_kernels_reports_nothing_is_taken():
    """The tree is then walked for unknown ids, as for those that were there before."""
    assert [] == NewCgroups().take()


def test_what_is_taken_is_what_the_kernel_wrote(kernel):
    """Names of the greatest length whole."""
    kernel.make(7, 1, b"x" * 255)

    assert [NewCgroup(7, 1, b"x" * 255)] == NewCgroups(kernel).take()
    assert [] == NewCgroups(kernel).take()
