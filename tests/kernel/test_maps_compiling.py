# SPDX-License-Identifier: Apache-2.0
"""Probes with mistakes in their C files."""

import shutil
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.component import MapCleanup
from ebpf_sidecar.receivers.ebpf.frames.reading import reading_of
from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import LoadError, load
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, find_hierarchy
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

BPF = Path(__file__).parents[2] / "bpf"
MIB = 1 << 20
ATTRIBUTION = Attribution(CgroupTree(find_hierarchy(Path("/sys/fs/cgroup"))), ())
NONSENSE = "\nint broken(void) { return nonsense; }\n"

pytestmark = pytest.mark.parallel


def test_a_mistake_in_c_shows_clangs_message(tmp_path):
    """With the file and the line as written."""
    shutil.copytree(BPF, tmp_path / "bpf")
    broken = tmp_path / "bpf" / "page_cache.c"
    broken.write_text(broken.read_text() + NONSENSE)
    line = len(broken.read_text().splitlines())
    probes = [read_probe(tmp_path / "bpf" / "page_cache.yaml")]

    with pytest.raises(
        LoadError, match=rf"page_cache.c:{line}:\d+: error: use of undeclared identifier 'nonsense'"
    ) as caught:
        load(probes, request_for(probes))

    assert "compile" == caught.value.failure


def test_a_probe_that_does_not_compile_stops_no_other(tmp_path, rows, run, file_of):
    """Its hooks give the reason; the shared programs work for the others."""
    shutil.copytree(BPF, tmp_path / "bpf")
    broken = tmp_path / "bpf" / "syscalls.c"
    broken.write_text(broken.read_text() + NONSENSE)
    probes = [read_probe(tmp_path / "bpf" / f"{name}.yaml") for name in ("page_cache", "syscalls")]

    with load(probes, request_for(probes, by_process=True)) as loaded:
        pid = run("files.py", "sequential", file_of(MIB), 1, 4096)["pid"]
        reasons = {hook.reason for hook in loaded.hooks if hook.probe == "syscalls"}

        assert 1 == len(reasons)
        assert "probe syscalls does not compile: syscalls.c:" in reasons.pop()
        assert "ebpf.syscall.duration" in loaded.unavailable
        assert MIB // 4096 <= rows(loaded, "cache_stats_map", pid)["lookups"][0]


FORKS = Path(__file__).parents[1] / "plugin_example" / "sidecar_forks"
HARM = {
    "the back end refuses it": ("    u64 children;", "    u8 children;"),
    "a value larger than a program's stack": ("    u64 children;", "    u64 children, more[10000];"),
    "a macro breaks the others": ("struct fork_key {", "#define u64 nonsense\nstruct fork_key {"),
    "a condition never ends": ('#include "owner.h"', '#if 0\n#include "owner.h"'),
    "an endless header": ('#include "owner.h"', '#include "/dev/zero"\n#include "owner.h"'),
}


@pytest.mark.parametrize("harm", HARM)
def test_no_probe_of_a_third_party_takes_ours_down(tmp_path, harm):
    """Whatever its C does to the compiler, only its own hooks and metrics are missing, and the reason is reported."""
    shutil.copytree(FORKS, tmp_path / "forks")
    source = tmp_path / "forks" / "forks.c"
    good, bad = HARM[harm]
    source.write_text(source.read_text().replace(good, bad, 1))
    probes = [read_probe(tmp_path / "forks" / "forks.yaml"), read_probe(BPF / "page_faults.yaml")]

    with load(probes, request_for(probes)) as loaded:
        attached = {hook.probe for hook in loaded.hooks if hook.attached}

        assert {"page_faults"} == attached
        assert "probe forks does not compile: " in loaded.unavailable["forks.children"]
        assert "ebpf.page_faults" not in loaded.unavailable


def test_a_metric_made_from_a_field_that_is_not_there_is_absent_alone(tmp_path):
    """Only the compiler knows the fields: what the YAML claims beyond them is reported when it is loaded."""
    shutil.copytree(FORKS, tmp_path / "forks")
    yaml = tmp_path / "forks" / "forks.yaml"
    yaml.write_text(yaml.read_text().replace("{sum: [children]}", "{sum: [childern]}"))
    probes = [read_probe(yaml)]

    with load(probes, request_for(probes)) as loaded:
        reading = reading_of(probes, loaded, ATTRIBUTION, start=0, cleanup=MapCleanup(), limit=10)

        assert {
            "forks.children": 'map "fork_stats": its value has no field "childern"; did you mean "children"?'
        } == loaded.unavailable
        assert () == reading.metric_views
