# SPDX-License-Identifier: Apache-2.0
"""A whole machine short of memory: kswapd, direct reclaim, compaction and a kill, against the kernel's own counters."""

import ctypes
import os
from pathlib import Path

import pytest
from ftrace_lines import BETWEEN_NS, durations_between, event_of, thread_of

KSWAPD, DIRECT = 0, 1
MIB = 1 << 20
DIRECT_RECLAIM = ("vmscan/mm_vmscan_direct_reclaim_begin", "vmscan/mm_vmscan_direct_reclaim_end")


@pytest.fixture
def spent(load_once, rows, vmstat):
    """Do something: what the kernel and the probe counted meanwhile, each by name."""
    loaded = load_once("memory")

    def counted():
        by_name = {"kswapd": KSWAPD, "direct": DIRECT}
        found = {name: rows(loaded, "reclaim_stats", reclaimer=number) for name, number in by_name.items()}
        scanned = {f"pgscan_{name}": each["scanned"][0] for name, each in found.items()}
        stolen = {f"pgsteal_{name}": each["reclaimed"][0] for name, each in found.items()}
        events = {name: value[0] for name, value in rows(loaded, "memory_stats").items()}
        stalls = {"stalls": sum(found["direct"]["duration"]), "stalled": found["direct"]["duration_sum"][0]}
        return scanned | stolen | events | stalls

    def spent(action):
        before = vmstat(), counted()
        action()
        after = vmstat(), counted()
        return tuple({name: now[name] - was[name] for name in now} for was, now in zip(before, after, strict=True))

    return spent


@pytest.fixture
def clean_file(tmp_path):
    """A file larger than memory whose pages can be dropped at any time."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(os.sysconf("SC_PHYS_PAGES") * 4096 * 6 // 5)
    return path


def free_mebibytes():
    """Memory available without reclaim."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    return os.sysconf("SC_AVPHYS_PAGES") * 4096 // MIB


def summed(counters, name):
    """Of all zones, or of all kinds of threads that reclaim for themselves."""
    return sum(value for key, value in counters.items() if key.startswith(name))


def pages_by_kernel(counters):
    """Under the names of the probe's: khugepaged and processes that request reclaim do it directly as well."""
    own = ("direct", "khugepaged", "proactive")
    return {
        f"{what}_{who}": sum(counters.get(f"{what}_{each}", 0) for each in (own if who == "direct" else [who]))
        for what in ("pgscan", "pgsteal")
        for who in ("kswapd", "direct")
    }


@pytest.mark.proves("ebpf.memory.lru.pages_scanned", "ebpf.memory.lru.pages_reclaimed", oracle="/proc/vmstat")
def test_pages_scanned_and_reclaimed_by_kswapd_equal_vmstat(spent, hunger, clean_file):
    """A file larger than memory is read."""
    kernel, probe = spent(lambda: hunger(("reads", 0, clean_file)))

    expected = pages_by_kernel(kernel)
    assert 10_000 < expected["pgscan_kswapd"]
    assert expected == {name: probe[name] for name in expected}


@pytest.fixture
def narrow():
    """Let the kernel keep so little memory in reserve that kswapd wakes too late."""
    lowest = {"min_free_kbytes": "1024", "watermark_scale_factor": "1"}
    before = {path: path.read_text() for path in map(Path("/proc/sys/vm").joinpath, lowest)}
    for path in before:
        path.write_text(lowest[path.name])
    yield
    for path, text in before.items():
        path.write_text(text)


@pytest.fixture
def shortage(hunger, clean_file, vmstat):
    """Memory is full of a file's pages when two processes need it at once, and hold kswapd off, until one stalls."""
    share, before = free_mebibytes() * 2 // 5, summed(vmstat(), "allocstall")

    def shortage():
        for _ in range(5):
            hunger(("reads", 0, clean_file))
            hunger(*[("takes", share)] * 2)
            if before < summed(vmstat(), "allocstall"):
                return

    return shortage


@pytest.mark.usefixtures("narrow")
@pytest.mark.proves("ebpf.memory.direct_reclaim.duration", oracle="/proc/vmstat")
@pytest.mark.proves("ebpf.memory.direct_reclaim.processes", oracle="mm_vmscan_direct_reclaim_begin")
@pytest.mark.proves("ebpf.memory.direct_reclaim.duration", oracle="mm_vmscan_direct_reclaim_begin and _end")
def test_stalls_their_seconds_and_pages_of_direct_reclaim_equal_the_kernels(spent, shortage, load_once, traced):
    """Two processes at once need memory that is full of a file's pages."""
    loaded = load_once("memory")
    before = stalled(loaded)

    with traced(*DIRECT_RECLAIM) as lines:
        kernel, probe = spent(shortage)

    expected, begins = pages_by_kernel(kernel), [line for line in lines if event_of(line).endswith("begin")]
    if not begins:
        pytest.skip("kswapd was quick enough")
    assert expected == {name: probe[name] for name in expected}
    assert summed(kernel, "allocstall") == probe["stalls"] == len(begins)
    seconds = sum(durations_between(lines, thread_of, "begin", "end"))
    assert seconds == pytest.approx(probe["stalled"], rel=0.25, abs=len(begins) * BETWEEN_NS)
    assert {thread_of(line) for line in begins} == stalled(loaded) - before
    assert 0 == loaded.maps["stalls"].entries()


def stalled(loaded):
    """Processes that had to reclaim."""
    return set(loaded.maps["stalled_processes"].read()[0]["process"].tolist())


@pytest.fixture
def unmoved():
    """Lock what we need in memory: otherwise the guest spends a minute fetching it again before it kills."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(1):
        pytest.skip(os.strerror(ctypes.get_errno()))
    yield
    library.munlockall()


@pytest.mark.usefixtures("unmoved")
@pytest.mark.proves("ebpf.memory.direct_reclaim.processes", oracle="mm_vmscan_direct_reclaim_begin")
@pytest.mark.proves("ebpf.memory.oom_kills", oracle="/proc/vmstat")
@pytest.mark.proves("ebpf.memory.direct_reclaim.duration", oracle="mm_vmscan_direct_reclaim_begin")
@pytest.mark.proves("ebpf.memory.lru.pages_scanned", "ebpf.memory.lru.pages_reclaimed", oracle="/proc/vmstat")
def test_a_kill_of_the_machine_equals_vmstat_and_is_the_victims(spent, hunger, load_once, rows, traced):
    """More memory is requested than there is. The kernel counts stalls twice that had to try twice."""
    Path("/proc/sys/vm/overcommit_memory").write_text("1")
    free_mebibytes()
    ended, before = [], stalled(load_once("memory"))

    with traced("vmscan/mm_vmscan_direct_reclaim_begin") as begins:
        kernel, probe = spent(lambda: ended.extend(hunger(("takes", os.sysconf("SC_PHYS_PAGES") * 4096 // MIB))))

    ((code, pid),) = ended
    expected = pages_by_kernel(kernel)
    assert -9 == code
    assert (1, 1) == (kernel["oom_kill"], probe["oom_kills"])
    assert [1] == rows(load_once("memory"), "memory_stats", pid)["oom_kills"]
    assert 0 < len(begins) == probe["stalls"] <= summed(kernel, "allocstall")
    assert {thread_of(line) for line in begins} >= stalled(load_once("memory")) - before
    assert expected == {name: probe[name] for name in expected}


@pytest.mark.proves("ebpf.memory.compaction.stalls", oracle="mm_compaction_begin")
def test_compaction_stalls_equal_those_that_the_kernel_traces(spent, hunger, traced):
    """Memory is fragmented when huge pages are requested. The kernel's own count includes deferred attempts."""
    share = free_mebibytes() * 9 // 10
    for _ in range(5):
        with traced("compaction/mm_compaction_try_to_compact_pages", "compaction/mm_compaction_begin") as events:
            kernel, probe = spent(lambda: hunger(("fragments", share)))
        assert compactions(events) == probe["compaction_stalls"] <= kernel["compact_stall"]
        if compactions(events):
            break  # otherwise all would be deferred, because earlier ones failed

    assert compactions(events)


def compactions(lines):
    """Attempts of threads that are followed by a start."""
    wanting, begun = set(), 0
    for line in lines:
        if "try_to_compact" in line:
            wanting.add(thread_of(line))
        elif thread_of(line) in wanting:
            wanting.remove(thread_of(line))
            begun += 1
    return begun
