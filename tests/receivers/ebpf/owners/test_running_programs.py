# SPDX-License-Identifier: Apache-2.0
"""Programs that were already running: their names from /proc, and their places."""

from types import SimpleNamespace

import pytest

from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy
from ebpf_sidecar.receivers.ebpf.owners.naming import add_running_programs, names_of
from ebpf_sidecar.receivers.ebpf.owners.program_names import ProgramNames
from ebpf_sidecar.receivers.ebpf.owners.running_programs import running_programs

LONG = "measure-everything"
CUT = LONG[:15].encode()
SERVICE = "/system.slice/web.service"


@pytest.fixture
def proc(tmp_path):
    """An empty /proc of our own."""
    (tmp_path / "proc" / "self" / "ns").mkdir(parents=True)
    (tmp_path / "proc" / "uptime").write_text("1.0 1.0\n")
    return tmp_path / "proc"


def add_process(proc, pid, comm=CUT, *, cgroup=f"0::{SERVICE}", exe=f"/usr/bin/{LONG}", cmdline=b""):
    """Write a process into the fake /proc."""
    process = proc / str(pid)
    process.mkdir()
    (process / "comm").write_bytes(comm + b"\n")
    (process / "cgroup").write_text(f"{cgroup}\n")
    (process / "cmdline").write_bytes(cmdline)
    if exe:
        (process / "exe").symlink_to(exe)


def refuse(_):
    """Reading is not allowed."""
    raise PermissionError


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"exe": f"/usr/bin/{LONG} (deleted)"},
        {"exe": None, "cmdline": f"/opt/{LONG}\0--flag\0".encode()},
        {"exe": "/usr/bin/python3.11", "cmdline": f"python3\0/opt/{LONG}\0".encode()},
    ],
    ids=["file", "deleted", "command line", "script"],
)
def test_the_file_or_the_command_line_gives_the_whole_name(proc, parts):
    """Of programs, and of scripts, whose file is their interpreter's."""
    add_process(proc, 23, **parts)
    add_process(proc, 24, b"sh")

    assert [(23, CUT, {"": SERVICE}, LONG.encode())] == [
        (each.pid, each.comm, each.cgroup, each.name) for each in running_programs(proc, refuse)
    ]


@pytest.mark.parametrize(
    "parts",
    [
        {"comm": b"measure-another"},
        {"exe": "/usr/bin/java", "cmdline": b"java\0-jar\0"},
        {"exe": None, "cmdline": f"{LONG} of job 4711\0".encode()},
        {"exe": None},
    ],
    ids=["another name", "a name of its own", "a title", "kernel thread"],
)
def test_a_name_is_never_replaced_by_another(proc, parts):
    """Then it is unknown what it is, and no other program may have its row."""
    add_process(proc, 23, **parts)

    assert [b""] == [each.name for each in running_programs(proc, refuse)]


def test_a_name_is_compared_in_bytes(proc):
    """It may be truncated inside a character, and a name may not be valid text."""
    full = "mess-name-vier-größe".encode()
    add_process(proc, 23, full[:15], exe=f"/bin/{full.decode()}")

    assert [full] == [each.name for each in running_programs(proc, refuse)]


def test_a_process_that_ends_meanwhile_or_no_proc_does_no_harm(proc):
    """Files that are gone are passed over."""
    (proc / "22").mkdir()
    add_process(proc, 23)
    (proc / "23" / "cgroup").unlink()

    assert [{}] == [each.cgroup for each in running_programs(proc, refuse)]
    assert [] == list(running_programs(proc / "missing", refuse))


def attribution_over(root):
    """Rows by cgroup and name."""
    tree = CgroupTree(Hierarchy("v2", root))
    tree.learn()
    return Attribution(tree, [GroupBy.CGROUP, GroupBy.EXECUTABLE], names=ProgramNames())


def test_running_programs_have_their_names_where_they_are(proc, tmp_path):
    """Two of them in one place share what they have in common, a single one has its own name."""
    root = tmp_path / "cgroup"
    for path in (SERVICE, "/other"):
        (root / path[1:]).mkdir(parents=True)
    add_process(proc, 23)
    add_process(proc, 24, cgroup="0::/other")
    add_process(proc, 25, cgroup="0::/other", exe="/bin/measure-everything-else")
    attribution = attribution_over(root)
    add_running_programs(attribution, attribution.tree.hierarchy, proc, refuse)

    assert LONG.encode() == attribution.names.full((SERVICE,), CUT)
    assert CUT == attribution.names.full(("/other",), CUT)


@pytest.mark.parametrize("why", ["above our namespace", "a namespace of our own", "gone"])
def test_a_program_whose_place_is_not_found_may_be_anywhere(proc, tmp_path, why):
    """Its name is completed nowhere: it may be counted in any row."""
    root = tmp_path / "cgroup"
    (root / "here").mkdir(parents=True)
    add_process(proc, 23, cgroup={"above our namespace": "0::/../here", "gone": "0::/gone"}.get(why, "0::/here"))
    if why == "a namespace of our own":
        (proc / "self" / "ns" / "cgroup").symlink_to("cgroup:[1]")
    attribution = attribution_over(root)
    add_running_programs(attribution, attribution.tree.hierarchy, proc, refuse)
    attribution.names.add(("/here",), CUT, LONG.encode())

    assert CUT == attribution.names.full(("/here",), CUT)


def test_in_a_pid_namespace_only_what_is_new_is_known_from_the_start(proc):
    """Of older cgroups, processes that are not seen may have had the name."""
    (proc / "self" / "ns" / "pid").symlink_to("pid:[1]")
    tree = SimpleNamespace(is_new=lambda cgroup: cgroup == 2)
    names = names_of(SimpleNamespace(new_names=object()), tree, proc, print)

    assert (False, True) == (names.complete(1), names.complete(2))
    assert not names_of(SimpleNamespace(new_names=None), tree, proc, print).complete(2)
