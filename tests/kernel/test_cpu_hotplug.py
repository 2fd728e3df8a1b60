# SPDX-License-Identifier: Apache-2.0
"""Page faults on a processor that comes online, or returns, while the probe runs."""

import errno
import mmap
import os
import resource
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.privileged import DirectOperations
from ebpf_sidecar.pipeline.running.broker import BrokerClient
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import release_descriptors
from ebpf_sidecar.receivers.ebpf.kernel.perf_event import open_event
from ebpf_sidecar.receivers.ebpf.loader.attaching import online
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe
from ebpf_sidecar.receivers.ebpf.watch.cpu_hotplug import CpuHotplug
from ebpf_sidecar.receivers.ebpf.watch.late_calls import MODULE, LateCalls

PROBE = read_probe(Path(__file__).parents[2] / "bpf/page_faults.yaml")
PAGES = 512

pytestmark = pytest.mark.parallel


@pytest.fixture
def last():
    """Run on the last processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {online()[-1]})
    yield online()[-1]
    os.sched_setaffinity(0, before)


@pytest.fixture
def sys(tmp_path):
    """A tree whose list of online CPUs can be changed."""
    (tmp_path / "devices/system/cpu").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def come_back(attach, sys):
    """The probe without its events of the last processor, which then comes online: probe, watch and warnings."""

    def come_back(**more):
        loaded, file, warnings = attach("page_faults"), sys / "devices/system/cpu/online", []
        for program in loaded.programs:
            release_descriptors([program.attachments[-1]])
        others = online()[:-1]
        file.write_text(",".join(map(str, others)) + "\n")
        cpu_hotplug = CpuHotplug(loaded, [PROBE], warnings.append, sys, **more)
        file.write_text(",".join(map(str, online())) + "\n")
        return loaded, cpu_hotplug, warnings

    return come_back


def faults(rows, loaded):
    """Touch fresh pages: the faults that the kernel counted, and the probe."""
    before, counted = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, rows(loaded, "fault_stats", os.getpid())
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(PAGES):
            memory[page * mmap.PAGESIZE] = 1
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        now = rows(loaded, "fault_stats", os.getpid())
    return after - before, sum(now["faults"]) - sum(counted["faults"])


@pytest.fixture(params=["itself", "a child", "the broker"])
def opener(request):
    """Who opens the events: without privileges the service has the broker do it."""
    if request.param == "itself":
        yield open_event
    elif request.param == "a child":
        yield LateCalls(DirectOperations()).open_event
    else:
        broker = BrokerClient([MODULE], ["PERFMON", "BPF"])
        yield LateCalls(broker).open_event
        broker.close()


def test_a_processor_that_comes_online_gets_its_own_events(come_back, last, rows, opener):
    """Without them nothing is counted there; with them as much as the kernel counts, and it is logged once."""
    loaded, cpu_hotplug, warnings = come_back(open=opener)
    assert 0 == faults(rows, loaded)[1]

    assert [cpu_hotplug.update(), cpu_hotplug.update()] == [None, None]
    reported, counted = faults(rows, loaded)

    assert PAGES <= counted == pytest.approx(reported, abs=20)
    assert [
        f"CPU {last} came online while page_faults was running: it is counted from now on, but was not before"
    ] == warnings
    cpu_hotplug.close()
    assert 0 == faults(rows, loaded)[1]


def test_where_its_events_are_refused_the_probe_is_turned_off(come_back):
    """Otherwise the numbers would be too small."""

    def refuse(*_):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    loaded, cpu_hotplug, warnings = come_back(open=refuse)
    left = cpu_hotplug.update()

    assert {"fault_stats"} == set(loaded.maps)
    assert {} == left.maps
    assert () == left.programs
    reason = f"CPU {online()[-1]} came online, but its events are refused: Permission denied"
    assert {reason} == {hook.reason for hook in left.hooks}
    assert [f"page_faults is turned off until a restart: {reason}"] == warnings
