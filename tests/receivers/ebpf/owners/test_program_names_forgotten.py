# SPDX-License-Identifier: Apache-2.0
"""Names of programs come and go for months: what is forgotten, and what never is."""

import pytest
from reported_names import BACKUP, COMM, HERE, MAIN, THERE, ReportedNames

from ebpf_sidecar.receivers.ebpf.owners import program_names
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy


@pytest.fixture
def names():
    """Names, and the kernel that reports them."""
    return ReportedNames()


def test_beyond_a_bound_names_stay_cut_and_that_is_logged_once(names, monkeypatch):
    """Not knowing is no reason to guess; places that are gone make room again."""
    monkeypatch.setattr(program_names, "MAX_NAMES", 2)
    warnings = []
    names.names.warn = warnings.append
    comms = [b"a" * 15, b"b" * 15, b"c" * 15, b"d" * 15]
    for comm in comms:
        names.start(comm + b"!", comm=comm)
    found = [names.full(comm=comm) for comm in comms]
    names.names.settle()
    names.names.keep([THERE])
    names.start(MAIN)

    assert [comms[0] + b"!", comms[1] + b"!", *comms[2:]] == found
    assert MAIN == names.full()
    assert [
        "names of programs: more than 2 have 15 bytes or more, so new ones stay truncated; "
        "measure fewer programs with targets, or use group_by: [container]"
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


def test_names_of_cgroups_that_are_gone_are_forgotten_and_those_of_idle_programs_are_not(names, monkeypatch):
    """Containers come and go for months; a program that has no row for hours has its name when it works again."""
    monkeypatch.setattr(program_names, "NAMES_ALWAYS_KEPT", 8)
    places = Places()
    attribution = Attribution(places, [GroupBy.CGROUP, GroupBy.EXECUTABLE], names=names.names)
    names.start(MAIN)
    for number in range(2, 100):
        places.known = {1: "/here", number: f"/{number}"}
        names.start(BACKUP, place=number)
        attribution.version()
        attribution.forget_names(lambda: [])

    assert 8 >= len(names.names)
    assert MAIN == names.names.full(HERE, COMM)


def test_names_of_processes_without_a_row_are_forgotten_unless_they_have_just_come(names, monkeypatch):
    """By process, no list of cgroups shows which have ended."""
    monkeypatch.setattr(program_names, "NAMES_ALWAYS_KEPT", 4)
    attribution = Attribution(Places(), [GroupBy.PID, GroupBy.EXECUTABLE], names=names.names)
    for number in range(1, 100):
        names.start(MAIN, pid=number)
        attribution.version()
        attribution.forget_names(lambda: [(1, MAIN.decode(), "read")])
        assert MAIN == names.names._names[(number,), COMM]

    assert 4 >= len(names.names)
    assert MAIN == names.names.full((1,), COMM)
