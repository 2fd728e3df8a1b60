# SPDX-License-Identifier: Apache-2.0
"""Probes with mistakes in their C files."""

import shutil
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.loading import LoadError, load
from ebpf_sidecar.receivers.ebpf.preparing import request_for
from ebpf_sidecar.receivers.ebpf.probe_file import read_probe

BPF = Path(__file__).parents[2] / "bpf"
MIB = 1 << 20
NONSENSE = "\nint broken(void) { return nonsense; }\n"


def test_a_mistake_in_c_shows_what_clang_says(tmp_path):
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
    """Its hooks say why; the shared programs work for the others."""
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
