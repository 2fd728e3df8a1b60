# SPDX-License-Identifier: Apache-2.0
"""Full names of programs: given where a single one can be meant, and never to another one."""

from types import SimpleNamespace

import numpy as np
import pytest
from counted_maps import FakeMap
from hypothesis import given
from hypothesis import strategies as st
from reported_names import BACKUP, COMM, HERE, MAIN, THERE, ReportedNames

from ebpf_sidecar.receivers.ebpf.frames.metric_frames import view_of
from ebpf_sidecar.receivers.ebpf.maps.map_totals import Tally, View
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy
from ebpf_sidecar.receivers.ebpf.owners.new_names import NewName, taken_from
from ebpf_sidecar.receivers.ebpf.owners.program_names import ProgramNames

OWNERS = np.dtype([("cgroup", "u8"), ("tgid", "u4"), ("generation", "u4"), ("comm", "S16")])


@pytest.fixture
def told():
    """Names, and the kernel that tells of them."""
    return ReportedNames()


def test_a_single_program_has_its_full_name(told):
    """However often it was started, and whatever it is called elsewhere."""
    told.start(MAIN)
    told.start(MAIN)
    told.start(BACKUP, place=2)
    told.take_name(0)

    assert (MAIN, BACKUP) == (told.full(), told.full(THERE))


@pytest.mark.parametrize("first_seen", [True, False])
def test_two_programs_of_one_name_have_what_they_share(told, first_seen):
    """Also when the first one had its name already: from then on, whoever is counted may be either."""
    told.start(MAIN)
    if first_seen:
        assert told.full() == MAIN
    told.start(BACKUP)

    assert COMM == told.full()
    assert int(first_seen) <= told.names.version


def test_who_came_to_the_name_in_another_way_may_be_anything(told):
    """It called itself so, or was moved there; a start of a program takes the name, too, and is no such case."""
    told.start(MAIN)
    told.take_name(1)
    told.start(BACKUP, place=2)
    told.take_name(-1, place=2)

    assert (COMM, BACKUP) == (told.full(), told.full(THERE))


@pytest.mark.parametrize("started_before", [True, False])
def test_a_program_that_is_starting_at_a_reading_has_its_name_at_the_next_one(told, started_before):
    """It takes its name before it is told of: until then it may be anybody, and is no other program for that."""
    if started_before:
        told.start(MAIN)
        assert MAIN == told.full()
    told.take_name(1)
    starting, version = told.full(), told.names.version
    told.names.settle()
    told.start(MAIN)
    told.take_name(-1)

    assert (COMM, MAIN) == (starting, told.full())
    assert version < told.names.version


def test_who_has_not_started_by_the_next_reading_came_in_another_way(told):
    """Whatever is told later: what it did is in the row."""
    told.start(MAIN)
    told.take_name(1)
    for _ in range(2):
        told.full()
        told.names.settle()
    told.take_name(-1)

    assert COMM == told.full()


def test_who_was_counted_before_anybody_told_is_not_who_comes_later(told):
    """A fork that was made elsewhere, or a kernel thread."""
    before = told.full()
    told.start(MAIN)

    assert (COMM, COMM) == (before, told.full())


def test_after_a_loss_nothing_known_is_certain(told):
    """Any program may have been among those for which there was no room; places that come later are clean."""
    told.start(MAIN)
    told.full()
    told.lost = 1
    lost = told.full()
    told.start(BACKUP, place=2)

    assert (COMM, BACKUP) == (lost, told.full(THERE))


def test_where_not_all_are_told_of_no_name_is_completed():
    """A cgroup that was there before, in a PID namespace that shows only some processes."""
    told = ReportedNames()
    told.names = ProgramNames(told.take, lambda: 0, complete=lambda cgroup: cgroup == 2)
    told.start(MAIN)
    told.start(MAIN, place=2)

    assert (COMM, MAIN) == (told.full(), told.full(THERE))


class CountedMap(FakeMap):
    """One entry, that of all processes with the name."""

    def read(self):
        _, values = super().read()
        return np.array([(1, 0, 0, COMM)], OWNERS)[: len(values)], values


STEPS = st.lists(st.tuples(st.sampled_from([MAIN, BACKUP, b""]), st.integers(1, 9), st.booleans()), max_size=12)


@given(STEPS)
def test_no_row_ever_has_what_another_program_did(steps):
    """Programs come to the name and are counted in any order, and the map is read now and then: nothing is lost."""
    told, kernel_map, did, now = ReportedNames(), CountedMap(), {MAIN: 0, BACKUP: 0, b"": 0}, 0.0

    def version():
        told.names.notice(lambda _: HERE)
        return told.names.version

    view = View(("name",), lambda keys: [(told.names.full(HERE, COMM).decode(),) for _ in keys], version)
    tally = Tally(kernel_map, [view], 1000)
    for name, amount, read in [*steps, (b"", 1, True)]:
        told.start(name) if name else told.take_name()
        kernel_map.count(1, amount)
        did[name] += amount
        if read:
            now += 1
            tally.update(now)
            told.names.settle()
    snapshot = tally.snapshot()
    rows = dict(zip(snapshot.rows.columns["name"].strings(), snapshot.totals[:, 0].tolist(), strict=True))
    first = steps[0][0] if steps else b""

    assert sum(did.values()) == sum(rows.values())
    assert all(rows.get(name.decode(), 0) <= did[name] for name in (MAIN, BACKUP))
    assert rows.keys() <= {COMM.decode(), first.decode()}


def test_a_program_alone_keeps_what_it_did_before_another_came():
    """Its row ends, and what both do is counted in another one from 0 on."""
    told, kernel_map = ReportedNames(), CountedMap()
    attribution = Attribution(SimpleNamespace(knows=lambda _: True, path=lambda _: "/here"),
                              [GroupBy.CGROUP, GroupBy.EXECUTABLE], names=told.names)  # fmt: skip
    tally = Tally(kernel_map, [view_of([], attribution, None)], 1000)
    for second, (name, amount) in enumerate([(MAIN, 100), (BACKUP, 5000), (MAIN, 7)]):
        told.start(name)
        kernel_map.count(1, amount)
        tally.update(float(second))

    snapshot = tally.snapshot()
    names = snapshot.rows.columns["process.executable.name"].strings()
    assert {MAIN.decode(): 100, COMM.decode(): 5007} == dict(zip(names, snapshot.totals[:, 0].tolist(), strict=True))


def test_names_are_compared_in_bytes(tmp_path):
    """A name that is cut inside a letter is completed; bytes that are no text are shown."""
    told = ReportedNames()
    attribution = Attribution(CgroupTree(Hierarchy("v2", tmp_path)), [GroupBy.EXECUTABLE], names=told.names)
    for name in ("name-fourteen-é-x".encode(), b"bad-long-name-\xff\xfe-more"):
        told.start(name, comm=name[:15])
    attribution.version()
    keys = np.array([(1, 1, 0, b"name-fourteen-\xc3"), (1, 1, 0, b"bad-long-name-\xff")], OWNERS)

    assert [("name-fourteen-é-x",), (r"bad-long-name-\xff\xfe-more",)] == attribution.owners(keys)


class PlayedMap:
    """Entries of the kernel's map."""

    dtype = np.dtype([("cgroup", "u8"), ("tgid", "u4"), ("generation", "u4"), ("comm", "S16"), ("path", "S256")])

    def __init__(self, *entries):
        self.keys = np.array([(7, 0, 0, comm, path) for comm, path, _ in entries], self.dtype)
        self.values = np.array([[count % 2**64] for *_, count in entries], np.uint64).reshape(-1, 1)

    def take(self):
        return self.keys, self.values


def test_what_is_taken_is_what_the_kernel_wrote():
    """The last part of the path, where it begins with the name: a descriptor's path does not say the file's name."""
    played = PlayedMap(
        (COMM, b"/usr/bin/" + MAIN, 2), (COMM, MAIN, 1), (b"memfd:something", b"/dev/fd/3", 1), (COMM, b"", -2)
    )

    assert [
        NewName(7, 0, COMM, MAIN, started=True, count=2),
        NewName(7, 0, COMM, MAIN, started=True, count=1),
        NewName(7, 0, b"memfd:something", b"", started=True, count=1),
        NewName(7, 0, COMM, b"", started=False, count=-2),
    ] == list(taken_from(played))
    assert [] == list(taken_from(PlayedMap()))
