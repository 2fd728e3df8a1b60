# SPDX-License-Identifier: Apache-2.0
"""Whether containers and processes can be identified by name from here."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict

from .host_facts import HostFacts
from .surroundings import CgroupVersion

_MOUNT_V2 = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
_OWNS = {
    True: "the host's cgroup namespace",
    False: "a cgroup namespace of its own",
    None: "namespace unknown",
}
_MOUNT_HOSTS = "mount the host's tree: hostPath /sys/fs/cgroup (docker: -v /sys/fs/cgroup:/sys/fs/cgroup:ro)"


def surroundings_findings(facts: HostFacts) -> Iterator[Finding]:
    """Version and view of cgroups, then the pid namespace."""
    yield _version(facts)
    if facts.cgroups.version is not CgroupVersion.NONE:
        yield _view(facts)
    yield _processes(facts)


def _version(facts: HostFacts) -> Finding:
    cgroups, name = facts.cgroups, ("cgroup", "version")
    if cgroups.version is CgroupVersion.NONE:
        found = f"no cgroups at {cgroups.root}: nothing can be attributed to containers"
        return Finding(*name, FindingVerdict.PROBLEM, found, f"{_MOUNT_V2} on the host; in a container {_MOUNT_HOSTS}")
    if cgroups.version is CgroupVersion.V2:
        return Finding(*name, FindingVerdict.OK, "v2")
    found = f"{cgroups.version}; containers are identified by the {cgroups.controller} hierarchy"
    if facts.types is None:
        found = f"{cgroups.version}, and without BTF the ids of its hierarchies cannot be found: rows name no container"
        return Finding(*name, FindingVerdict.PROBLEM, found, "boot with systemd.unified_cgroup_hierarchy=1 (version 2)")
    return Finding(*name, FindingVerdict.OK, found)


def _view(facts: HostFacts) -> Finding:
    own = _OWNS[facts.namespaces.cgroup]
    if facts.cgroups.whole:
        return Finding("cgroup", "view", FindingVerdict.OK, f"the host's whole tree ({own})")
    found = f"only a part of the host's tree ({own}): other containers' rows have no name"
    return Finding("cgroup", "view", FindingVerdict.PROBLEM, found, _MOUNT_HOSTS)


def _processes(facts: HostFacts) -> Finding:
    if facts.namespaces.pid:
        return Finding("processes", "pid namespace", FindingVerdict.OK, "the host's")
    if facts.namespaces.pid is None:
        found = "unknown: /proc/self/ns/pid cannot be read; names of executables may be truncated to 15 bytes"
        return Finding(
            "processes", "pid namespace", FindingVerdict.NOTE, found, "mount proc, and let this user read its own"
        )
    found = "not the host's: names of executables are truncated to 15 bytes; process ids in rows are the host's"
    return Finding("processes", "pid namespace", FindingVerdict.NOTE, found, "hostPID: true (docker: --pid=host)")
