# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.map_sizing import BUDGET
from ebpf_sidecar.receivers.ebpf.loading.parent import LoadError, load
from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import AttachPoint

BPF = Path(__file__).parents[2] / "bpf"
WORKLOADS = Path(__file__).parent / "workloads"
WRITTEN_BACK = "ebpf.page_cache.written_back"
THROTTLED = "ebpf.block.io.throttle.duration"
NOBODY = 65534
MIB = 1 << 20

pytestmark = pytest.mark.parallel


def with_our_package():
    """An environment in which a new Python finds it, installed or not."""
    path = os.pathsep.join(filter(None, [str(BPF.parent / ".src"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def page_cache():
    """The probe, not loaded."""
    return read_probe(BPF / "page_cache.yaml")


@pytest.fixture
def restricted():
    """Load in a separate process with fewer privileges."""

    def restricted(restriction, yaml=BPF / "page_cache.yaml", **more):
        command = [sys.executable, str(WORKLOADS / "load.py"), restriction, str(yaml)]
        done = subprocess.run(command, stdout=subprocess.PIPE, env=with_our_package(), check=True, **more)
        return json.loads(done.stdout)

    return restricted


def test_every_probe_attaches_all_its_hooks(attach, lacking):
    """On this kernel, all at once in one object."""
    loaded = attach(*find_probes([BPF]))

    missing = {hook.hook: hook.reason for hook in loaded.hooks if not hook.attached}

    assert set(missing) <= lacking
    assert {WRITTEN_BACK, THROTTLED} == set(loaded.unavailable) if missing else not loaded.unavailable
    assert all(len(hook.brief) < 80 for hook in loaded.hooks)


def test_every_probe_works_alone(attach, lacking):
    """Shared programs are there for whoever needs them."""
    missing = {name: detached(attach, name) - lacking for name in find_probes([BPF])}

    assert {name: set() for name in missing} == missing


def detached(attach, name):
    """The hooks of a probe that are not attached when it is loaded alone."""
    with attach(name) as loaded:
        return {hook.hook for hook in loaded.hooks if not hook.attached}


def test_the_loader_is_quick_and_leaves_no_compiler_in_memory(attach):
    """It takes LLVM's memory and gives it back; this process holds descriptors only."""
    before = resident()

    loaded = attach("page_cache", "syscalls", "block_io")

    assert loaded.compile_seconds < 30
    assert 32 * MIB < loaded.peak_rss_bytes < 400 * MIB
    assert resident() - before < 16 * MIB


def resident():
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_all_maps_together_stay_below_the_budget(attach):
    """Full maps included: an entry costs its key, its value and 48 bytes, rounded up as the kernel's allocator does."""
    loaded = attach("page_cache", "syscalls", "block_io")

    assert sum(largest(kernel_map) for kernel_map in loaded.maps.values()) <= BUDGET


def largest(kernel_map):
    """Bytes of a full map: entries and buckets."""
    size = 48 + (kernel_map.key_dtype.itemsize + 7) // 8 * 8 + kernel_map.columns * 8
    room = next(room for room in (64, 96, 128, 192, 256, 512, 1024) if room >= size + 8)
    return kernel_map.max_entries * room + 16 * (1 << (kernel_map.max_entries - 1).bit_length())


def test_a_closed_probe_counts_no_more(attach):
    """Closing the descriptors detaches everything, and nothing stays mapped; again is no error."""
    loaded = attach("syscalls")
    before = len(list(Path("/proc/self/fd").iterdir()))
    mapped = sum(kernel_map.near is not None for kernel_map in loaded.maps.values())

    loaded.close()
    loaded.close()

    assert len(loaded.descriptors) + mapped == before - len(list(Path("/proc/self/fd").iterdir()))
    assert "bpf-map" not in Path("/proc/self/maps").read_text()


def test_a_hook_that_does_not_exist_stops_no_other(page_cache, lacking):
    """It is reported with the reason, and the metrics that need it are unavailable."""
    request = request_for([page_cache])
    nowhere = AttachPoint("tracepoint", "filemap:mm_filemap_imagined", "add_tracepoint", since="9.9")
    hooks = [replace(hook, alternatives=(nowhere,)) if hook.name == "page_add" else hook for hook in request.hooks]

    with load([page_cache], replace(request, hooks=tuple(hooks))) as loaded:
        refused = [hook for hook in loaded.hooks if not hook.attached and hook.hook not in lacking]

        assert ["page_add"] == [hook.hook for hook in refused]
        assert "this kernel has no tracepoint filemap:mm_filemap_imagined (it came with 9.9)" == refused[0].reason
        assert {"ebpf.cache.misses", "ebpf.cache.mapped_misses", "ebpf.page_cache.adds"} == set(loaded.unavailable) - {
            WRITTEN_BACK
        }


@pytest.fixture
def refused():
    """A probe of which the verifier rejects the hook ``enter``."""
    return read_probe(Path(__file__).parent / "probes" / "refused.yaml")


def test_a_program_that_the_verifier_refuses_stops_no_other(refused):
    """It refuses with the errno of missing rights; the message names the program and the place in C."""
    with load([refused], request_for([refused])) as loaded:
        reasons = {hook.hook: hook.reason for hook in loaded.hooks}

    assert "" == reasons["return"]
    assert "raw_syscalls:sys_enter: the kernel's verifier rejects the program refused_enter (" in reasons["enter"]
    assert "R0 invalid mem access 'map_value_or_null'); report it" in reasons["enter"]
    assert {"test.refused.entered": reasons["enter"]} == dict(loaded.unavailable)


def test_where_the_verifier_refuses_everything_it_is_named(refused):
    """No missing rights are blamed: all are there."""
    request = request_for([refused])
    enter = tuple(hook for hook in request.hooks if hook.name == "enter")

    with pytest.raises(LoadError, match=r"cannot load probes: refused::enter: .*verifier rejects") as caught:
        load([refused], replace(request, hooks=enter))

    assert "verifier" == caught.value.failure


def test_without_the_ancestors_of_cgroups_block_io_goes_on_without_the_owners_of_bios():
    """A kernel may report neither of them; then I/O belongs to its submitter."""
    block_io = read_probe(BPF / "block_io.yaml")
    request = request_for([block_io], program_cache="")
    reported = tuple(field for field in request.btf if not field.startswith("cgroup.ancestor"))
    with load([block_io], replace(request, btf=reported)) as loaded:
        assert any(hook.attached for hook in loaded.hooks)
    assert len(reported) == len(request.btf) - 2


def test_a_reader_program_that_does_not_compile_stops_no_probe(page_cache, tmp_path):
    """Its hook gives the reason, and the maps of the probe are there."""
    request, broken = request_for([page_cache], program_cache=""), tmp_path / "broken.c"
    broken.write_text("int program(void *ctx) { return nothing_of_this_name; }")
    files = (*request.files, str(broken))
    with load([page_cache], replace(request, files=files, own=replace(request.own, files=(str(broken),)))) as loaded:
        assert not loaded.unavailable.keys() - {WRITTEN_BACK}
        assert all("nothing_of_this_name" in hook.reason for hook in loaded.own_hooks)
        assert loaded.new_cgroups is None
        assert loaded.own_hooks


def test_strict_wants_all_or_nothing(page_cache):
    """With strict, a missing hook refuses everything."""
    request = request_for([page_cache], strict=True)
    extra = HookRequest("page_cache", "imagined", (AttachPoint("tracepoint", "filemap:imagined", "nothing"),))

    with pytest.raises(
        LoadError, match=r"strict is on: .*page_cache::imagined: this kernel has no tracepoint"
    ) as caught:
        load([page_cache], replace(request, hooks=(*request.hooks, extra)))

    assert "attach" == caught.value.failure


def test_a_loader_that_takes_too_long_is_stopped(page_cache):
    """The wait is bounded."""
    with pytest.raises(LoadError, match=r"did not finish within 0.01 s; raise the timeout") as caught:
        load([page_cache], request_for([page_cache], program_cache=""), timeout=0.01)

    assert "timeout" == caught.value.failure


def test_without_rights_the_missing_capabilities_are_named(restricted):
    """As user nobody, both are missing."""
    reported = restricted("none", user=NOBODY, group=NOBODY, extra_groups=[])

    assert "rights" == reported["failure"]
    assert "CAP_BPF and CAP_PERFMON missing" in reported["message"]


def test_without_bcc_what_to_do_is_named(page_cache, tmp_path, monkeypatch):
    """A Python that cannot import it: the package to install, or how the environment sees what is installed."""
    (tmp_path / "bcc.py").write_text("raise ImportError(\"No module named 'bcc'\")")
    monkeypatch.syspath_prepend(tmp_path)  # where the loader imports from, too

    with pytest.raises(
        LoadError, match=r"install the package python3-bpfcc|environment does not see it; ln -s"
    ) as caught:
        load([page_cache], request_for([page_cache], program_cache=""))

    assert "bcc" == caught.value.failure


def test_no_program_is_skipped(attach, run, file_of):
    """The kernel skips a program that already runs on the processor; ours do not nest."""
    loaded = attach("page_cache", "syscalls", "block_io")

    run("files.py", "in_threads", file_of(8 << 20), 8, 4096)

    assert {0} == {program.missed() for program in loaded.programs}


def test_a_seccomp_filter_is_distinguished_from_missing_rights(restricted):
    """Root with all capabilities, but bpf(2) is filtered."""
    reported = restricted("seccomp")

    assert "seccomp" == reported["failure"]
    assert "allow bpf and perf_event_open in the profile" in reported["message"]


def test_a_reader_without_any_capability_reads_clears_and_deletes(restricted):
    """After loading, root is not needed any more (kernel 6.1 and later)."""
    reported = restricted("reader")

    assert 0 == reported["capabilities"]
    assert 0 < reported["read"]
    assert 0 == reported["left"]


@pytest.mark.parametrize("exponent", [8, 9, 20, 34])
def test_a_power_of_two_belongs_to_the_slot_whose_bound_it_is(run_slots, exponent):
    """Upper bounds are inclusive: 2^k has slot k - 8, one more has the next."""
    slots = run_slots(2**exponent, 2**exponent + 1, 2**exponent - 1 if exponent > 8 else 2**exponent)

    assert [exponent - 8, exponent - 7, exponent - 8] == slots


def test_small_and_huge_values_have_the_first_and_the_last_slot(run_slots):
    """Nothing falls out of the histogram."""
    assert [0, 0, 0, 0, 0, 28, 28] == run_slots(0, 1, 2, 3, 4, 2**35 + 1, 2**64 - 1)


def test_low_exponents_are_exact(run_slots):
    """1, 2, 3, 4 with the lowest bound at 1."""
    assert [0, 0, 1, 2, 2, 3, 3] == run_slots(0, 1, 2, 3, 4, 5, 8, lowest=0)


@pytest.fixture
def run_slots(run):
    """The slots that the kernel's own code gives."""
    return lambda *values, lowest=8: run("slots.py", BPF, lowest, 29, *values)
