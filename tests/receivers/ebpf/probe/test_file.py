# SPDX-License-Identifier: Apache-2.0
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import CALL_FIELDS, Slots, Spread, Sum

BPF = Path(__file__).parents[4] / "bpf"


def test_what_a_probe_says_of_calls_has_the_order_of_the_kernels_struct():
    """The reader writes them as bytes when a probe is turned off; they are eight."""
    body = re.search(r"^struct call \{\n(.*?)^\};", (BPF / "thread.h").read_text(), re.MULTILINE | re.DOTALL)[1]

    assert [*CALL_FIELDS] == re.findall(r"^\s*u8 (\w+);", body, re.MULTILINE)


def test_probes_that_share_a_program_hook_it_in_the_same_ways():
    """It is attached once, for whichever probe comes first."""
    ways = {}
    for path in find_probes([BPF]).values():
        for hook in read_probe(path).hooks:
            ways.setdefault(hook.alternatives[0].program, set()).add((hook.name, hook.alternatives))
    shared = ("thread_ends", "program_changes", "name_changes", "call_returns", "call_enters")

    assert set(shared) <= ways.keys()
    assert dict.fromkeys(shared, 1) == {program: len(ways[program]) for program in shared}


def test_a_file_is_understood_once_and_anew_when_its_text_has_changed(tmp_path):
    """Each probe is read several times at startup, and nearly all of the time is spent in YAML."""
    path, text = tmp_path / "page_cache.yaml", (BPF / "page_cache.yaml").read_text()
    path.write_text(text)
    first, again = read_probe(path), read_probe(path)
    path.write_text(text.replace("stability: ", "stability: alpha  # "))

    assert first is again
    assert ("alpha", "alpha") != (first.stability, read_probe(path).stability)
    assert "alpha" == read_probe(path).stability


@pytest.mark.parametrize("name", sorted(find_probes([BPF])))
def test_every_shipped_probe_is_without_mistakes(name):
    """And documents itself."""
    probe = read_probe(BPF / f"{name}.yaml")

    assert name == probe.name
    assert all([probe.summary, probe.reading, probe.cost, probe.kernel, *(metric.reading for metric in probe.metrics)])


def test_the_page_cache_probe_reads_as_written():
    """Kinds of values, published names, defaults."""
    probe = read_probe(BPF / "page_cache.yaml")
    values = {metric.name: metric.value for metric in probe.metrics}

    assert "cache_stats_map" == probe.map("cache_stats").published
    assert "threads" == probe.map("threads").published
    assert (True, False) == (probe.map("read_ahead").array, probe.map("ranges").array)
    assert Sum(("misses",)) == values["ebpf.cache.misses"]
    assert Spread("adds", "cause", ("read", "write", "mmap", "other", "fill")) == values["ebpf.page_cache.adds"]


def test_a_histogram_says_where_its_bounds_begin():
    """256 ns for system calls."""
    value = next(each.value for each in read_probe(BPF / "syscalls.yaml").metrics if each.kind == "histogram")

    assert Slots("duration", "duration_sum", 8, 1e-9, value.default_exponents) == value


def test_a_probe_is_a_pair_and_the_first_folder_wins(tmp_path):
    """A YAML without C is no probe; a folder of the user's can replace a probe of ours."""
    (tmp_path / "page_cache.yaml").touch()
    (tmp_path / "page_cache.c").touch()
    (tmp_path / "lonely.yaml").touch()

    found = find_probes([tmp_path, BPF])

    assert tmp_path / "page_cache.yaml" == found["page_cache"]
    assert {"page_cache", "syscalls", "block_io", "block_waits", "memory", "page_faults"} == set(found)


def test_the_loader_child_knows_probes_without_pydantic():
    """It has little memory, and starts once for each load; what it imports of a probe is the model alone."""
    code = (
        "import sys; import ebpf_sidecar.receivers.ebpf.loader.child, ebpf_sidecar.receivers.ebpf.loading.request;"
        "print({'pydantic', 'pydantic_core', 'yaml', 'ebpf_sidecar.receivers.ebpf.probe.shapes'} & set(sys.modules),"
        "'ebpf_sidecar.receivers.ebpf.probe.model' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "set() True\n" == done.stdout
