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
from ebpf_sidecar.receivers.ebpf.maps.map_totals import MapTotals, View
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy
from ebpf_sidecar.receivers.ebpf.owners.new_names import NewName, take_new_names
from ebpf_sidecar.receivers.ebpf.owners.program_names import ProgramNames

OWNERS = np.dtype([("cgroup", "u8"), ("tgid", "u4"), ("generation", "u4"), ("comm", "S16")])


@pytest.fixture
def names():
    """Names, and the kernel that reports them."""
    return ReportedNames()


def test_a_single_program_has_its_full_name(names):
    """However often it was started, and whatever it is called elsewhere."""
    names.start(MAIN)
    names.start(MAIN)
    names.start(BACKUP, place=2)
    names.take_name(0)

    assert (MAIN, BACKUP) == (names.full(), names.full(THERE))


@pytest.mark.parametrize("first_seen", [True, False])
def test_two_programs_of_one_name_have_what_they_share(names, first_seen):
    """Also when the first one had its name already: from then on, whoever is counted may be either."""
    names.start(MAIN)
    if first_seen:
        assert names.full() == MAIN
    names.start(BACKUP)

    assert COMM == names.full()
    assert int(first_seen) <= names.names.version


def test_a_process_that_took_the_name_otherwise_may_be_any_program(names):
    """It called itself so, or was moved there; a start of a program takes the name, too, and is no such case."""
    names.start(MAIN)
    names.take_name(1)
    names.start(BACKUP, place=2)
    names.take_name(-1, place=2)

    assert (COMM, BACKUP) == (names.full(), names.full(THERE))


@pytest.mark.parametrize("started_before", [True, False])
def test_a_program_that_is_starting_at_a_reading_has_its_name_at_the_next_one(names, started_before):
    """It takes its name before it is reported: until then it may be any program, but does not count as another one."""
    if started_before:
        names.start(MAIN)
        assert MAIN == names.full()
    names.take_name(1)
    starting, version = names.full(), names.names.version
    names.names.settle()
    names.start(MAIN)
    names.take_name(-1)

    assert (COMM, MAIN) == (starting, names.full())
    assert version < names.names.version


def test_a_process_not_started_by_the_next_reading_took_its_name_otherwise(names):
    """Whatever is reported later: what it did is in the row."""
    names.start(MAIN)
    names.take_name(1)
    for _ in range(2):
        names.full()
        names.names.settle()
    names.take_name(-1)

    assert COMM == names.full()


def test_a_process_counted_before_any_report_is_not_a_later_one(names):
    """A fork that was made elsewhere, or a kernel thread."""
    before = names.full()
    names.start(MAIN)

    assert (COMM, COMM) == (before, names.full())


def test_after_a_loss_nothing_known_is_certain(names):
    """Any program may have been among those for which there was no room; places that come later are clean."""
    names.start(MAIN)
    names.full()
    names.lost = 1
    lost = names.full()
    names.start(BACKUP, place=2)

    assert (COMM, BACKUP) == (lost, names.full(THERE))


def test_no_name_is_completed_where_reports_are_incomplete():
    """A cgroup that was there before, in a PID namespace that shows only some processes."""
    names = ReportedNames()
    names.names = ProgramNames(names.take, lambda: 0, complete=lambda cgroup: cgroup == 2)
    names.start(MAIN)
    names.start(MAIN, place=2)

    assert (COMM, MAIN) == (names.full(), names.full(THERE))


class CountedMap(FakeMap):
    """One entry, that of all processes with the name."""

    def read(self):
        _, values = super().read()
        return np.array([(1, 0, 0, COMM)], OWNERS)[: len(values)], values


STEPS = st.lists(st.tuples(st.sampled_from([MAIN, BACKUP, b""]), st.integers(1, 9), st.booleans()), max_size=12)


@given(STEPS)
def test_no_row_ever_has_what_another_program_did(steps):
    """Programs come to the name and are counted in any order, and the map is read now and then: nothing is lost."""
    names, kernel_map, did, now = ReportedNames(), CountedMap(), {MAIN: 0, BACKUP: 0, b"": 0}, 0.0

    def version():
        names.names.notice(lambda _: HERE)
        return names.names.version

    view = View(("name",), lambda keys: [(names.names.full(HERE, COMM).decode(),) for _ in keys], version)
    map_totals = MapTotals(kernel_map, [view], 1000)
    for name, amount, read in [*steps, (b"", 1, True)]:
        names.start(name) if name else names.take_name()
        kernel_map.count(1, amount)
        did[name] += amount
        if read:
            now += 1
            map_totals.update(now)
            names.names.settle()
    snapshot = map_totals.snapshot()
    rows = dict(zip(snapshot.rows.columns["name"].strings(), snapshot.totals[:, 0].tolist(), strict=True))
    first = steps[0][0] if steps else b""

    assert sum(did.values()) == sum(rows.values())
    assert all(rows.get(name.decode(), 0) <= did[name] for name in (MAIN, BACKUP))
    assert rows.keys() <= {COMM.decode(), first.decode()}


def test_a_program_alone_keeps_what_it_did_before_another_came():
    """Its row ends, and what both do is counted in another one from 0 on."""
    names, kernel_map = ReportedNames(), CountedMap()
    attribution = Attribution(SimpleNamespace(knows=lambda _: True, path=lambda _: "/here"),
                              [GroupBy.CGROUP, GroupBy.EXECUTABLE], names=names.names)  # fmt: skip
    map_totals = MapTotals(kernel_map, [view_of([], attribution, None)], 1000)
    for second, (name, amount) in enumerate([(MAIN, 100), (BACKUP, 5000), (MAIN, 7)]):
        names.start(name)
        kernel_map.count(1, amount)
        map_totals.update(float(second))

    snapshot = map_totals.snapshot()
    names = snapshot.rows.columns["process.executable.name"].strings()
    assert {MAIN.decode(): 100, COMM.decode(): 5007} == dict(zip(names, snapshot.totals[:, 0].tolist(), strict=True))


def test_names_are_compared_in_bytes(tmp_path):
    """A name that is cut inside a letter is completed; bytes that are no text are shown."""
    names = ReportedNames()
    attribution = Attribution(CgroupTree(Hierarchy("v2", tmp_path)), [GroupBy.EXECUTABLE], names=names.names)
    for name in ("name-fourteen-é-x".encode(), b"bad-long-name-\xff\xfe-more"):
        names.start(name, comm=name[:15])
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
    """The last part of the path, where it starts with the name: a descriptor's path does not say the file's name."""
    played = PlayedMap(
        (COMM, b"/usr/bin/" + MAIN, 2), (COMM, MAIN, 1), (b"memfd:something", b"/dev/fd/3", 1), (COMM, b"", -2)
    )

    assert [
        NewName(7, 0, COMM, MAIN, started=True, count=2),
        NewName(7, 0, COMM, MAIN, started=True, count=1),
        NewName(7, 0, b"memfd:something", b"", started=True, count=1),
        NewName(7, 0, COMM, b"", started=False, count=-2),
    ] == list(take_new_names(played))
    assert [] == list(take_new_names(PlayedMap()))
