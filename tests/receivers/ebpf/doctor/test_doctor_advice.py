# SPDX-License-Identifier: Apache-2.0
"""The texts to copy."""

import errno
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

DATA = Path(__file__).parents[3] / "data"


def spec(seen):
    """The pod's spec as Kubernetes would read it."""
    return yaml.safe_load(seen.advice("kubernetes"))


def added(seen):
    """The capabilities in it."""
    return spec(seen)["containers"][0]["securityContext"]["capabilities"]["add"]


def test_the_texts_are_as_reviewed(host, golden):
    """For a usual host."""
    seen = host.examine()

    golden(DATA / "doctor_kubernetes.yaml", seen.advice("kubernetes"))
    golden(DATA / "doctor_docker.sh", seen.advice("docker"))


def test_everything_else_is_dropped_and_forbidden(host):
    """The smallest rights: two capabilities, no escalation, nothing to be written but /tmp."""
    context = spec(host.examine())["containers"][0]["securityContext"]

    assert {"drop": ["ALL"], "add": ["BPF", "PERFMON"]} == context["capabilities"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert not context["privileged"]


def test_each_mount_has_its_volume(host):
    """What the host lends is read-only."""
    read = spec(host.examine())
    mounts = {mount["name"]: mount for mount in read["containers"][0]["volumeMounts"]}
    lent = {volume["name"]: volume["hostPath"]["path"] for volume in read["volumes"] if "hostPath" in volume}

    assert set(mounts) == {volume["name"] for volume in read["volumes"]}
    assert {"/sys/kernel/tracing", "/sys/fs/cgroup"} == set(lent.values())
    assert all(mounts[name]["readOnly"] and mounts[name]["mountPath"] == path for name, path in lent.items())


def test_a_container_is_not_given_cap_sys_admin_to_mount_tracefs(container):
    """The host's is mounted into it instead."""
    assert ["BPF", "PERFMON"] == added(container.examine())


def test_a_kernel_before_5_11_with_low_memlock_gets_cap_sys_resource(host):
    """To lift the limit."""
    seen = host.on(release="5.10.0-46-amd64", memlock=65536).examine()

    assert ["BPF", "PERFMON", "SYS_RESOURCE"] == added(seen)


def test_ubuntus_paranoid_kernel_gets_cap_sys_admin_and_may_escalate(host):
    """The API server refuses CAP_SYS_ADMIN together with allowPrivilegeEscalation: false."""
    host.write("proc/sys/kernel/perf_event_paranoid", "4\n").process(("BPF", "PERFMON"))
    seen = host.on(answers={"bpf": errno.EINVAL, "perf_event_open": errno.EACCES}).examine()

    assert ["BPF", "PERFMON", "SYS_ADMIN"] == added(seen)
    assert "allowPrivilegeEscalation" not in spec(seen)["containers"][0]["securityContext"]


@pytest.mark.parametrize(
    ("answer", "profile", "flag"), [(errno.EPERM, "Unconfined", True), (errno.EINVAL, "RuntimeDefault", False)]
)
def test_seccomp_is_given_up_only_where_it_was_seen_to_refuse(host, answer, profile, flag):
    """Docker's and containerd's profiles go by the capabilities."""
    host.process(("BPF", "PERFMON"), seccomp=2)
    seen = host.on(answers={"bpf": answer, "perf_event_open": errno.EFAULT}).examine()

    assert profile == spec(seen)["containers"][0]["securityContext"]["seccompProfile"]["type"]
    assert flag == ("seccomp=unconfined" in seen.advice("docker"))


def test_docker_gets_the_same_capabilities_and_mounts(host):
    """One command line."""
    seen = host.examine()
    words = seen.advice("docker").replace("\\\n", " ").split()

    assert added(seen) == [after for word, after in pairwise(words) if word == "--cap-add"]
    assert "/sys/kernel/tracing:/sys/kernel/tracing:ro" in words
