# SPDX-License-Identifier: Apache-2.0
"""Names of full length on the running kernel: which process took them, and how."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for, with_names
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy
from ebpf_sidecar.receivers.ebpf.owners.new_names import take_new_names
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

PYTHON = Path(sys.executable).resolve()
HIERARCHY = find_hierarchy(Path("/sys/fs/cgroup"))
BPF = Path(__file__).parents[2] / "bpf"
SLEEPS = "import sys; print(flush=True); sys.stdin.read()"
RENAMES = "import ctypes; ctypes.CDLL(None).prctl(15, b'named-by-itself-altogether', 0, 0, 0)"

pytestmark = pytest.mark.parallel


@pytest.fixture
def cgroup():
    """A cgroup of our own."""
    folder = HIERARCHY.root / f"sidecar-names-{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.rmdir()


@pytest.fixture
def program(tmp_path):
    """A program of this name, in a folder whose path is longer than what is kept of it."""
    folder = tmp_path / ("long" * 50) / ("path" * 50)
    folder.mkdir(parents=True)

    def program(name, script=""):
        path = folder / name
        if script:
            path.write_text(f"#!{PYTHON} -S\n{script}\n")
            path.chmod(0o755)
        else:
            path.symlink_to(PYTHON)
        return path

    return program


def test_all_ways_to_take_a_full_length_name_are_reported(cgroup, program):
    """Programs and scripts by their full names, including bytes that are not text; processes that rename themselves or
    are moved."""
    probes = [read_probe(BPF / "page_faults.yaml")]
    loaded = load(probes, with_names(request_for(probes, cgroup_hierarchy=HIERARCHY.controller)))
    raw = os.fsdecode("größenverhältnisse-".encode() + b"\xff" + b"." * 200)
    names = ["postgres_exporter_main", "postgres_exporter_backup", "exactly-fifteen", "fourteen-bytes", raw]

    def join():
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    for name in names:
        subprocess.run([program(name), "-S", "-E", "-c", ""], preexec_fn=join, check=True)
    subprocess.run([program("a-script-with-a-long-name.py", "pass")], preexec_fn=join, check=True)
    subprocess.run([PYTHON, "-S", "-E", "-c", RENAMES], preexec_fn=join, check=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([program("moved-after-its-start"), "-S", "-E", "-c", SLEEPS], **pipes) as moved:
        moved.stdout.readline()
        (cgroup / "cgroup.procs").write_text(str(moved.pid))
        moved.stdin.close()

    reported = [each for each in take_new_names(loaded.new_names) if each.cgroup == cgroup.stat().st_ino]
    whole = [*names[:3], raw, "a-script-with-a-long-name.py"]
    assert {os.fsencode(name) for name in whole} == {each.name for each in reported if each.started}
    assert {b"named-by-itself": 1, b"moved-after-its": 1} == {
        each.comm: each.count for each in reported if not each.started and each.count
    }
    assert 0 == loaded.drops.read()["new_names"]
    assert [] == [each for each in take_new_names(loaded.new_names) if each.cgroup == cgroup.stat().st_ino]
    loaded.close()
