# SPDX-License-Identifier: Apache-2.0
"""The minimal privileges, as text to copy. Root, because only root may read tracefs and Kubernetes grants capabilities
to no other user; but a root without any other privilege, on a read-only file system.
"""

from __future__ import annotations

from collections.abc import Sequence

from ebpf_sidecar.pipeline.checks import Advice

from .host_facts import HostFacts
from .needs import Need

_MOUNTS = {"tracing": "/sys/kernel/tracing", "cgroup": "/sys/fs/cgroup"}
_FILTER = 2


def advice_of(facts: HostFacts, needs: Sequence[Need], *, refused: bool) -> tuple[Advice, ...]:
    """For Kubernetes and docker. ``refused``: a seccomp filter refuses a required call."""
    names = [
        need.capability.removeprefix("CAP_") for need in needs if need.capability != "CAP_SYS_ADMIN" or _admin(need)
    ]
    profile = "Unconfined" if refused and facts.privileges.seccomp == _FILTER else "RuntimeDefault"
    return (
        Advice("kubernetes", "the minimal privileges, for a pod's spec", _kubernetes(names, profile)),
        Advice("docker", "the same for docker", _docker(names, profile)),
    )


def _admin(need: Need) -> bool:
    """In a container tracefs is mounted from the host, so only the other reasons count."""
    return any(reason != "to mount tracefs" for reason in need.reasons)


def _kubernetes(capabilities: Sequence[str], profile: str) -> str:
    escalation = () if "SYS_ADMIN" in capabilities else ("      allowPrivilegeEscalation: false",)
    lines = [
        "hostPID: true  # for names longer than 15 bytes; everything else works without",
        "containers:",
        "  - name: ebpf-sidecar",
        "    securityContext:",
        "      runAsUser: 0",
        "      privileged: false",
        *escalation,  # the API server refuses it together with CAP_SYS_ADMIN
        "      readOnlyRootFilesystem: true",
        f"      capabilities: {{drop: [ALL], add: [{', '.join(capabilities)}]}}",
        f"      seccompProfile: {{type: {profile}}}{_profile_note(profile)}",
        "    volumeMounts:",
        *(f"      - {{name: {name}, mountPath: {path}, readOnly: true}}" for name, path in _MOUNTS.items()),
        "      - {name: tmp, mountPath: /tmp}",
        "volumes:",
        *(f"  - {{name: {name}, hostPath: {{path: {path}, type: Directory}}}}" for name, path in _MOUNTS.items()),
        "  - {name: tmp, emptyDir: {}}",
    ]
    return "\n".join(lines) + "\n"


def _profile_note(profile: str) -> str:
    # containerd/containerd#7301, moby/moby#43987; containers/common still requires CAP_SYS_ADMIN
    return "  # Unconfined with CRI-O, and containerd before 1.6.9" if profile == "RuntimeDefault" else ""


def _docker(capabilities: Sequence[str], profile: str) -> str:
    flags = [
        # not --tmpfs: the canary needs a file on a disk
        "docker run --rm --user 0 --read-only -v /tmp --pid host --cap-drop ALL",
        *(f"--cap-add {name}" for name in capabilities),
        "--security-opt no-new-privileges",
        *(["--security-opt seccomp=unconfined"] if profile == "Unconfined" else []),
        *(f"-v {path}:{path}:ro" for path in _MOUNTS.values()),
        "ebpf-sidecar",
    ]
    return " \\\n  ".join(flags) + "\n"
