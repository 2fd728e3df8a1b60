# SPDX-License-Identifier: Apache-2.0
"""Every way into the kernel, each counted against what this process did."""

import mmap
import os
import resource
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

PROBE = Path(__file__).parent / "probes" / "ways.yaml"
ON_FUNCTIONS = ["kprobe", "kretprobe", "fentry", "fexit"]
CALLS = 23
PAGES = 64

pytestmark = pytest.mark.parallel


@pytest.fixture
def path(file_of):
    """A file that nothing has to be done for any more."""
    return file_of(PAGES * mmap.PAGESIZE)


@pytest.fixture
def ways(path):
    """The loaded probe."""
    probes = [read_probe(PROBE)]
    with load(probes, request_for(probes, by_process=True)) as loaded:
        yield loaded


def status(loaded, hook):
    """Of one hook."""
    return next(each for each in loaded.hooks if each.hook == hook)


@pytest.mark.parametrize("way", ON_FUNCTIONS)
def test_a_function_is_counted_each_time(ways, path, way, rows):
    """At its start or at its return; where the kernel refuses that way, the others are attached all the same."""
    if not status(ways, way).attached:
        assert status(ways, way).reason
        pytest.skip(status(ways, way).reason)
    with path.open("rb", buffering=0) as file:
        before = runs(ways, rows, ON_FUNCTIONS.index(way))
        for _ in range(CALLS):
            file.read(1)

        assert CALLS == runs(ways, rows, ON_FUNCTIONS.index(way)) - before


def runs(loaded, rows, way):
    """Of a way, for this process."""
    return rows(loaded, "way_stats", os.getpid(), way=way)["runs"][0]


def test_an_event_of_all_processors_is_counted_each_time(ways, path, rows):
    """Whichever processor the process is on; compared with getrusage(2)."""
    cpus = sorted(os.sched_getaffinity(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        view.madvise(mmap.MADV_RANDOM)
        for page in range(PAGES):
            os.sched_setaffinity(0, {cpus[page % len(cpus)]})
            view[page * mmap.PAGESIZE]
    os.sched_setaffinity(0, cpus)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before

    assert faults >= PAGES
    assert faults == runs(ways, rows, 4)


def test_a_hook_reports_the_way_that_it_took(ways):
    """As the self-test and the kernel matrix show it."""
    assert "perf_event page_faults_maj" == status(ways, "perf_event").way
    assert all(bool(hook.way) == hook.attached for hook in ways.hooks)
