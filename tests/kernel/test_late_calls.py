# SPDX-License-Identifier: Apache-2.0
"""Counting runs is switched on by a child, and off with the descriptor that it handed over."""

import errno
import os
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.running.broker import BrokerClient
from ebpf_sidecar.receivers.ebpf.kernel.bpf_stats import run_statistics
from ebpf_sidecar.receivers.ebpf.kernel.reader_rights import LOADING, rights_to_read
from ebpf_sidecar.receivers.ebpf.watch.late_calls import MODULE, LateCalls

pytestmark = pytest.mark.parallel


@pytest.fixture
def late():
    """Late calls by a broker with these capabilities."""
    brokers = []

    def late(*capabilities):
        brokers.append(BrokerClient([MODULE], capabilities))
        return LateCalls(brokers[-1])

    yield late
    for broker in brokers:
        broker.close()


def test_runs_are_counted_while_the_descriptor_is_open(attach, late):
    """The child that switched it on has ended by then."""
    programs = attach("syscalls").programs
    nothing = os.open(os.devnull, os.O_RDONLY)
    with run_statistics(Path("/proc"), late(*LOADING).enable_statistics) as counting:
        before = sum(program.runs()[0] for program in programs)
        for _ in range(10):
            os.pread(nothing, 1, 0)
        during = sum(program.runs()[0] for program in programs)
    os.close(nothing)

    assert counting
    assert during - before >= 20


def test_a_refusal_has_the_kernels_number(late):
    """As if we had made the call; a context then reports that nothing is counted."""
    asked = late()
    with pytest.raises(PermissionError) as caught:
        asked.enable_statistics()
    assert errno.EPERM == caught.value.errno
    with run_statistics(Path("/nowhere"), asked.enable_statistics) as counting:
        assert not counting


def test_a_descriptor_that_is_no_program_is_refused(late):
    """Whatever descriptor is passed."""
    with Path(os.devnull).open() as nothing, pytest.raises(OSError, match="Invalid argument"):
        late(*LOADING).open_event(nothing.fileno(), 2, 0)


def test_the_rights_needed_for_reading_are_known():
    """From 5.19 on nothing; before, where the sysctl says so, CAP_BPF."""
    release = tuple(map(int, os.uname().release.split(".")[:2]))
    restricted = Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip() != "0"

    assert (("BPF",) if release < (5, 19) and restricted else ()) == rights_to_read()


def test_a_child_that_does_not_answer_is_an_error_with_a_reason():
    """Its text is what users see."""

    class Mute:
        def run(self, module, channel, log):
            return self

        def end(self):
            pass

    with pytest.raises(ConnectionResetError) as caught:
        LateCalls(Mute()).enable_statistics()
    assert "the privileged child has not answered" == caught.value.strerror
