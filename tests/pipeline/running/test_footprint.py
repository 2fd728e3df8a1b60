# SPDX-License-Identifier: Apache-2.0
"""Memory that only the start needed is given back, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.running.footprint import release_start_up, unchanged_mappings

DETAILS = {"Size": 8, "Rss": 8, "Private_Clean": 8, "Anonymous": 0, "Swap": 0, "Locked": 0}


def mapping(rights="r-xp", path="/usr/lib/libx.so", **details):
    """A mapping as /proc/<pid>/smaps shows it."""
    lines = "".join(f"{name}:{size:16} kB\n" for name, size in {**DETAILS, **details}.items())
    return f"7f0000001000-7f0000003000 {rights} 00000000 fe:00 42 {' ' * 20}{path}\n{lines}VmFlags: rd ex mr mw me \n"


@pytest.mark.parametrize("rights", ["r-xp", "r--p"])
def test_programs_and_constants_of_files_can_be_dropped(rights):
    """They are in the file as they are in memory."""
    assert [(0x7F0000001000, 0x7F0000003000)] == list(unchanged_mappings(mapping(rights)))


@pytest.mark.parametrize(
    "kept",
    [
        mapping("rw-p"),
        mapping("r--s"),
        mapping("---p"),
        mapping(path=""),
        mapping(path="[vdso]"),
        mapping("r--p", Anonymous=4),
        mapping("r--p", Swap=4),
        mapping(Locked=8),
    ],
    ids=["writable", "shared", "no access", "anonymous", "kernel's", "relocated", "relocated, swapped out", "locked"],
)
def test_everything_else_is_kept(kept):
    """Written pages would be lost, and locked ones must stay; neighbouring mappings are checked separately."""
    assert [] == list(unchanged_mappings(kept))
    assert 2 == len(list(unchanged_mappings(mapping() + kept + mapping())))


def test_all_that_can_be_dropped_is_named_once(tmp_path):
    """The kernel is advised about address and length of each mapping."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/smaps").write_text(mapping() + mapping("rw-p"))
    advised = []
    release_start_up(tmp_path, lambda address, length: advised.append((address, length)))

    assert [(0x7F0000001000, 0x2000)] == advised


def test_without_smaps_nothing_is_done(tmp_path):
    """A restricted /proc is not an error."""
    release_start_up(tmp_path, lambda *_: pytest.fail("nothing is known, nothing may be dropped"))


SCRIPT = """
import json, sys
from pathlib import Path
import numpy
from ebpf_sidecar.pipeline.running.footprint import release_start_up
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("RssFile")][0]
before = resident()
release_start_up(Path("/proc"))
after = resident()
print(json.dumps([before, after, float(numpy.linalg.det(numpy.eye(3) * 2))]))
"""


def test_a_process_goes_on_with_half_of_its_file_pages():
    """What it needs again is mapped again: libraries work as before."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, check=True)
    before, after, determinant = json.loads(done.stdout)

    assert after < before / 2
    assert 8 == pytest.approx(determinant)


def test_the_real_table_of_this_process_is_understood():
    """At least the interpreter itself is found in what this kernel writes."""
    found = list(unchanged_mappings(Path("/proc/self/smaps").read_text()))

    assert found
    assert all(begin < end for begin, end in found)
