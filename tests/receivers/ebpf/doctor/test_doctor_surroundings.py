# SPDX-License-Identifier: Apache-2.0
"""What the doctor reports about cgroups and namespaces."""

import pytest

from ebpf_sidecar.pipeline.checks import FindingVerdict

VERSION, VIEW, PROCESSES = ("cgroup", "version"), ("cgroup", "view"), ("processes", "pid namespace")
OWN = {"cgroup": 4026532201, "pid": 4026532202}


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("v2", "v2"),
        ("v1", "v1; containers are identified by the memory hierarchy"),
        ("hybrid", "hybrid; containers are identified by the memory hierarchy"),
    ],
)
def test_all_versions_of_cgroups_do(host, version, found):
    """Version 1 takes BTF, which this host has."""
    tree = host if version == "v2" else host.v1(hybrid=version == "hybrid")
    seen = tree.examine()

    assert (FindingVerdict.OK, found) == (seen[VERSION].verdict, seen[VERSION].found)
    assert "the host's whole tree (the host's cgroup namespace)" == seen[VIEW].found


@pytest.mark.parametrize("hybrid", [False, True])
def test_version_1_without_btf_cannot_name_containers(host, hybrid):
    """The kernel's helper knows version 2 only."""
    seen = host.v1(hybrid=hybrid).remove("sys/kernel/btf/vmlinux").examine(probes=["syscalls"])

    assert {"cgroup version"} == seen.problems
    assert "boot with systemd.unified_cgroup_hierarchy=1 (version 2)" == seen[VERSION].fix


def test_without_cgroups_nothing_can_be_attributed(host):
    """One line says so; the view is not mentioned."""
    seen = host.remove("sys/fs/cgroup").examine()

    assert {"cgroup version"} == seen.problems
    assert "mount -t cgroup2 cgroup2 /sys/fs/cgroup" in seen[VERSION].fix
    assert "cgroup" not in {each.area for each in seen.examination.findings if each.subject == "view"}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_container_sees_only_its_own_cgroup(host, version):
    """The first directory of a tree has other files than all below it."""
    tree = host.v2(whole=False) if version == "v2" else host.v1(whole=False)
    seen = tree.namespaces(OWN).examine()

    assert {"cgroup view"} == seen.problems
    assert seen[VIEW].found.startswith("only a part of the host's tree (a cgroup namespace of its own)")
    assert "-v /sys/fs/cgroup:/sys/fs/cgroup:ro" in seen[VIEW].fix


def test_a_container_with_the_hosts_tree_sees_all_of_it(host):
    """Whatever the namespace: what counts is what is mounted."""
    seen = host.namespaces(OWN).examine()

    assert (FindingVerdict.OK, "the host's whole tree (a cgroup namespace of its own)") == (
        seen[VIEW].verdict,
        seen[VIEW].found,
    )


def test_a_pid_namespace_costs_only_long_names(host):
    """A note, not a problem."""
    seen = host.namespaces(OWN).examine()

    assert FindingVerdict.NOTE == seen[PROCESSES].verdict
    assert "hostPID: true (docker: --pid=host)" == seen[PROCESSES].fix
    assert set() == seen.problems


def test_namespaces_that_cannot_be_read_are_reported_as_unknown(host):
    """Neither fine nor a problem."""
    seen = host.remove("proc/self/ns").examine()

    assert FindingVerdict.NOTE == seen[PROCESSES].verdict
    assert seen[PROCESSES].found.startswith("unknown: /proc/self/ns/pid cannot be read")
    assert "the host's whole tree (namespace unknown)" == seen[VIEW].found
    assert set() == seen.problems
