# SPDX-License-Identifier: Apache-2.0
"""What the service uses and may use, from small trees and from this kernel."""

import subprocess
import sys
from pathlib import Path

import pytest
from memory_tree import MIB, MemoryTree

from ebpf_sidecar.pipeline.host import Paths
from ebpf_sidecar.pipeline.testing import FakeClock
from ebpf_sidecar.processors.service_memory import ServiceMemory, available, resident


@pytest.fixture
def tree(tmp_path):
    """A machine of 1,000 MiB without a cgroup limit."""
    tree = MemoryTree(tmp_path)
    tree.machine(1000)
    return tree


def test_all_descendants_of_all_threads_count(tree):
    """The privilege broker and what it runs, too."""
    tree.process("self", 50, ["11", "12"])
    tree.process("11", 9)
    tree.process("12", 5, ["13"])
    tree.process("13", 2)

    assert 66 * MIB == resident(tree.paths.proc)


def test_a_process_that_has_just_ended_counts_nothing(tree):
    """It is still in the list of its parent's children."""
    tree.process("self", 50, ["11"])

    assert 50 * MIB == resident(tree.paths.proc)


def test_what_this_kernel_shows_is_understood():
    """A child that holds 50 MiB shows up in the sum."""
    before = resident(Path("/proc"))
    script = "import sys; kept = b'1' * (50 << 20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        during = resident(Path("/proc"))
        child.stdin.close()

    assert 50 * MIB < during - before < 90 * MIB
    assert 0 < available(Paths())


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {}, 1000),
        ("0::/\n", {"memory.max": f"{300 * MIB}\n"}, 300),
        ("0::/a/b\n", {"a/b/memory.max": "max\n"}, 1000),
        ("0::/a/b\n", {"a/b/memory.max": f"{400 * MIB}\n", "a/memory.max": f"{300 * MIB}\n"}, 300),
        ("0::/a/b\n", {"a/b/memory.max": f"{200 * MIB}\n", "a/memory.max": f"{300 * MIB}\n"}, 200),
        ("0::/a\n", {"other/memory.max": f"{200 * MIB}\n"}, 1000),
        ("0::/a\n", {"memory.max": f"{5000 * MIB}\n"}, 1000),
        ("0::/../sibling\n", {"memory.max": f"{300 * MIB}\n"}, 1000),
        ("4:cpu:/\n3:memory:/a\n", {"memory/a/memory.limit_in_bytes": f"{300 * MIB}\n"}, 300),
        ("3:memory:/docker/f00\n", {"memory/memory.limit_in_bytes": f"{300 * MIB}\n"}, 300),
        ("3:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, 1000),
    ],
    ids=[
        "no limit", "of a container", "max", "of the cgroup above", "the smaller one", "of another cgroup",
        "above the machine's memory", "outside the cgroup namespace", "version 1", "version 1 in a container",
        "version 1 without a limit",
    ],
)  # fmt: skip
def test_what_can_be_used_is_the_smallest_limit(tree, cgroup, files, expected):
    """Of the cgroup, of those above it, and of the machine."""
    tree.machine(1000, cgroup)
    for name, text in files.items():
        tree.write(f"cgroup/{name}", text)

    assert expected * MIB == available(tree.paths)


def test_a_recent_reading_is_not_repeated(tree):
    """Whoever scrapes often reads no files; what cannot be read stays as it was."""
    clock = FakeClock()
    memory = ServiceMemory(tree.paths.proc, clock, 10.0)
    seen = []
    for mib, seconds in ((50, 0), (60, 9), (70, 1), (80, 11)):
        tree.process("self", mib)
        clock.advance(seconds)
        seen.append(memory.recently() // MIB)
    (tree.paths.proc / "self/statm").unlink()
    clock.advance(11)

    assert [50, 50, 70, 80] == seen
    assert 80 * MIB == memory.recently()
