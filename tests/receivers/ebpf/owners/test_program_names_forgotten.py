# SPDX-License-Identifier: Apache-2.0
"""Names of programs come and go for months: what is forgotten, and what never is."""

import pytest
from reported_names import BACKUP, COMM, HERE, MAIN, THERE, ReportedNames

from ebpf_sidecar.receivers.ebpf.owners import program_names
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy


@pytest.fixture
def told():
    """Names, and the kernel that tells of them."""
    return ReportedNames()


def test_beyond_a_bound_names_stay_cut_and_that_is_said_once(told, monkeypatch):
    """Not knowing is no reason to guess; places that are gone make room again."""
    monkeypatch.setattr(program_names, "MOST_NAMES", 2)
    warnings = []
    told.names.warn = warnings.append
    comms = [b"a" * 15, b"b" * 15, b"c" * 15, b"d" * 15]
    for comm in comms:
        told.start(comm + b"!", comm=comm)
    found = [told.full(comm=comm) for comm in comms]
    told.names.settle()
    told.names.keep([THERE])
    told.start(MAIN)

    assert [comms[0] + b"!", comms[1] + b"!", *comms[2:]] == found
    assert MAIN == told.full()
    assert [
        "names of programs: more than 2 of 15 bytes and more, so those that come now stay cut; "
        "choose fewer programs with targets, or group_by: [container]"
    ] == warnings


class Places:
    """A tree of cgroups, by number."""

    def __init__(self):
        self.known = {1: "/here"}

    def knows(self, number):
        return number in self.known

    def path(self, number):
        return self.known.get(number, "")

    def ids(self):
        return self.known

    def learn(self):
        """Nothing else is there."""

    notice = learn


def test_names_of_cgroups_that_are_gone_are_forgotten_and_those_of_idle_programs_are_not(told, monkeypatch):
    """Containers come and go for months; a program that has no row for hours has its name when it works again."""
    monkeypatch.setattr(program_names, "FEW_NAMES", 8)
    places = Places()
    attribution = Attribution(places, [GroupBy.CGROUP, GroupBy.EXECUTABLE], names=told.names)
    told.start(MAIN)
    for number in range(2, 100):
        places.known = {1: "/here", number: f"/{number}"}
        told.start(BACKUP, place=number)
        attribution.version()
        attribution.forget_names(lambda: [])

    assert 8 >= len(told.names)
    assert MAIN == told.names.full(HERE, COMM)


def test_names_of_processes_without_a_row_are_forgotten_unless_they_have_just_come(told, monkeypatch):
    """By process, no list of cgroups says who has ended."""
    monkeypatch.setattr(program_names, "FEW_NAMES", 4)
    attribution = Attribution(Places(), [GroupBy.PID, GroupBy.EXECUTABLE], names=told.names)
    for number in range(1, 100):
        told.start(MAIN, pid=number)
        attribution.version()
        attribution.forget_names(lambda: [(1, MAIN.decode(), "read")])
        assert MAIN == told.names._names[(number,), COMM]

    assert 4 >= len(told.names)
    assert MAIN == told.names.full((1,), COMM)
