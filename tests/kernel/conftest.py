# SPDX-License-Identifier: Apache-2.0
"""Probes on the running kernel, and known workloads in processes of their own."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from kernel_access import why_no_ebpf
from mounts import own_tracefs, why_no_tracefs

from ebpf_sidecar.receivers.ebpf.kernel.namespaces import in_host_namespace
from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe
from ebpf_sidecar.receivers.ebpf.selftest.oracles import PAGE, Cached, cache_of, read_faults, read_io, resident_pages
from ebpf_sidecar.receivers.ebpf.selftest.worker import SCRIPTS, Worker

BPF = Path(__file__).parents[2] / "bpf"
WORKLOADS = Path(__file__).parent / "workloads"
MIB = 1 << 20
FOREIGN_IDS = "in a pid namespace of its own: the kernel counts by other process ids than those seen here"
KPROBES = Path("/sys/bus/event_source/devices/kprobe")


def pytest_collection_modifyitems(items):
    """All tests of this folder need the kernel; those that look into maps find their rows by process id."""
    reason = why_no_ebpf()
    foreign = in_host_namespace("pid", Path("/proc")) is False
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kernel)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
            elif foreign and {"attach", "attach_once", "rows"} & {*item.fixturenames}:
                item.add_marker(pytest.mark.skip(reason=FOREIGN_IDS))


@pytest.fixture
def attach():
    """Load probes by name until the test ends; rows are kept by process unless requested otherwise."""
    with attaching() as attach:
        yield attach


@pytest.fixture(scope="module")
def attach_once():
    """The same until the file's last test ends, and only once for the same probes and settings: for tests that look at
    what their own processes, cgroups or devices did meanwhile. Rows of those before are gone.
    """
    with attaching() as attach:
        loaded = {}

        def attach_once(*names, **more):
            asked = repr((names, sorted(more.items())))
            if asked in loaded:
                clear(loaded[asked])
            else:
                loaded[asked] = attach(*names, **more)
            return loaded[asked]

        yield attach_once


def clear(loaded):
    """Remove all rows, as the receiver does: with a row for each process of the machine, maps would be full soon."""
    retired = loaded.generation.flip()
    loaded.generation.settled()
    for kernel_map in loaded.maps.values():
        keys, _ = kernel_map.read()
        if "generation" in keys.dtype.names:
            kernel_map.delete(keys[keys["generation"] == retired])


@contextmanager
def attaching():
    """Loads probes, and closes all of them at the end."""
    with ExitStack() as opened:

        def attach(*names, chosen=None, by_process=True, **more):
            probes = [read_probe(BPF / f"{name}.yaml") for name in names]
            more.setdefault("cgroup_hierarchy", find_hierarchy(Path("/sys/fs/cgroup")).controller)
            return opened.enter_context(load(probes, request_for(probes, chosen, by_process=by_process, **more)))

        yield attach


@pytest.fixture
def lacking():
    """Hooks that a kernel without kprobes may lack: no tracepoint does what they do."""
    return set() if KPROBES.exists() else {"page_write_back", "limit"}


@pytest.fixture
def run():
    """Run a workload to its end and return what it printed as JSON."""

    def run(script, *arguments):
        command = [
            sys.executable,
            *(() if script == "slots.py" else ("-S", "-E")),
            str(WORKLOADS / script),
            *map(str, arguments),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def handled(tmp_path_factory):
    """Run an action of handlers.c: signal handlers that Python cannot have."""
    program, compiler = tmp_path_factory.mktemp("handlers") / "handlers", shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) is installed")
    subprocess.run([compiler, "-O1", "-o", program, WORKLOADS / "handlers.c"], check=True)
    return lambda action: json.loads(subprocess.run([program, action], stdout=subprocess.PIPE, check=True).stdout)


@pytest.fixture(scope="session")
def window(tmp_path_factory):
    """Run an action of a script, of ours or of the self-test's: its facts, and readings right before and right after
    it.

    Between the readings is only the action, not the interpreter's start or exit.
    """
    worker = Worker(tmp_path_factory.mktemp("names"), timeout=60)

    def window(script, action, path, *, size=0, step=0, look):
        file = next(folder / script for folder in (SCRIPTS, WORKLOADS) if (folder / script).exists())
        return worker.run(str(file), [action, *map(str, (path, size, step))], "work", look)

    return window


class Seen(NamedTuple):
    """What came of an action, in pages: the action's own numbers, the probe's, and the kernel's.

    ``adds`` by cause: read, write, mmap, other, fill. ``fetched``: from disk, by /proc/<pid>/io. ``grown``: of the file
    in question, by cachestat(2) or mincore(2). ``dirty``: of it, not yet written; None where there is no cachestat(2).
    ``faults``: minor and major, by /proc/<pid>/stat.
    """

    facts: dict[str, float]
    lookups: int
    misses: int
    mapped_faults: int
    mapped_misses: int
    adds: list[int]
    removes: int
    dirtied: int
    fetched: int
    grown: int
    dirty: int | None
    faults: tuple[int, int]


@pytest.fixture(scope="session")
def observe(window, rows):
    """Run an action under the probe page_cache; ``about``: the file whose cached pages are read from the kernel."""

    def observe(loaded, script, action, path, *, about=None, **more):
        def look(pid):
            file = about or path
            cached = cache_of(file) if file.exists() else Cached(0, 0, 0)
            pages = resident_pages(file) if cached is None else cached.pages
            dirty = cached and cached.dirty + cached.writeback
            kernels = read_io(pid, Path("/proc"))["read_bytes"], pages, *read_faults(pid, Path("/proc")).values()
            return rows(loaded, "cache_stats_map", pid), *kernels, dirty

        ended = window(script, action, path, look=look, **more)
        (before, *_), (after, *_) = ended.before, ended.after
        counted = {field: [b - a for a, b in zip(before[field], after[field], strict=True)] for field in after}
        single = {field: counted[field][0] for field in Seen._fields if len(counted.get(field, ())) == 1}
        fetched, grown, *faults = ((b - a) for a, b in zip(ended.before[1:5], ended.after[1:5], strict=True))
        kernels = {"fetched": fetched // PAGE, "grown": grown, "faults": tuple(faults), "dirty": ended.after[5]}
        return Seen(ended.facts, adds=counted["adds"], **single, **kernels)

    return observe


@pytest.fixture(scope="session")
def rows():
    """The values of one process in a map, summed over its rows, by field; ``where`` narrows by fields of the key."""

    def rows(loaded, name, pid=None, **where):
        kernel_map = loaded.maps[name]
        keys, values = kernel_map.read()
        wanted = keys["tgid"] == pid if pid is not None else keys["tgid"] >= 0
        for field, value in where.items():
            wanted &= keys[field] == value
        total = values[wanted].sum(axis=0)
        return {field: total[columns].tolist() for field, columns in kernel_map.value_fields.items()}

    return rows


@pytest.fixture
def file_of(tmp_path):
    """Make a file of random bytes, on disk and in no cache."""

    def file_of(size, name="data"):
        path = tmp_path / name
        path.write_bytes(os.urandom(size))
        forget(path)
        return path

    return file_of


def forget(path):
    """Write a file to disk and drop it from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


forget_fixture = pytest.fixture(lambda: forget, name="forget")


@pytest.fixture(scope="session")
def tracefs():
    """The folder of a tracefs, whether the machine has one mounted or not."""
    if why_no_tracefs():
        pytest.skip(why_no_tracefs())
    with own_tracefs() as folder:
        yield folder


@pytest.fixture(scope="session")
def traced(tracefs):
    """A context with a list that holds, at its end, the lines that the kernel's own tracing wrote for some events."""
    folder = tracefs / "instances" / f"sidecar-test-{os.getpid()}"  # a buffer of our own
    folder.mkdir()

    @contextmanager
    def traced(*events):
        (folder / "trace_clock").write_text("mono")  # one for all processors; choosing it empties the buffer
        (folder / "trace").write_text("")
        switches, lines = [folder / "events" / event / "enable" for event in events], []
        for switch in switches:
            switch.write_text("1")
        try:
            yield lines
        finally:
            for switch in switches:
                switch.write_text("0")
            lines += [line for line in (folder / "trace").read_text().splitlines() if line[:1] != "#"]

    yield traced
    folder.rmdir()


@pytest.fixture
def frozen(tmp_path):
    """Freeze a process with cgroup v1: a signal that kills it has to wait."""
    root, ours = Path("/sys/fs/cgroup/freezer"), tmp_path / "freezer"
    if not root.exists():
        root = ours
        root.mkdir()
        subprocess.run(["mount", "-t", "cgroup", "-o", "freezer", "none", root], check=True)
    folder = root / f"sidecar-test-{os.getpid()}"
    folder.mkdir()

    def frozen(pid):
        (folder / "cgroup.procs").write_text(str(pid))
        (folder / "freezer.state").write_text("FROZEN")
        while (folder / "freezer.state").read_text() != "FROZEN\n":
            time.sleep(0.01)

    yield frozen
    (folder / "freezer.state").write_text("THAWED")
    folder.rmdir()
    if root == ours:
        subprocess.run(["umount", root], check=True)


@pytest.fixture
def dying(frozen):
    """A killed process that holds so much of a cgroup's memory, and cannot end before the kernel thaws it."""

    def dying(cgroup, mebibytes):
        command = [sys.executable, "-S", "-E", WORKLOADS / "pressure.py", "holds", cgroup, str(mebibytes)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        with process.stdout:
            process.stdout.readline()
        frozen(process.pid)
        process.kill()
        return process

    return dying
