# SPDX-License-Identifier: Apache-2.0
r"""Which container a cgroup path belongs to, read from the path alone.

These names are not guaranteed, but all runtimes use them. The forms, with `<id>` for 64 hexadecimal digits:

* systemd driver: ``…/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope``; likewise ``crio-<id>.scope``,
  ``docker-<id>.scope``, ``libpod-<id>.scope``, ``nerdctl-<id>.scope`` anywhere. A dash in a slice's name means
  nesting to systemd, so the pod's uid has underscores there, or dashes escaped as ``\x2d``.
* cgroupfs driver: ``/kubepods/burstable/pod<uid>/<id>``, ``/docker/<id>``, ``/default/<id>`` (a containerd namespace),
  ``/libpod_parent/libpod-<id>``, ``/ecs/<task>/<id>`` (Fargate: ``<32 digits>-<number>``).
* containerd configured for cgroupfs under a kubelet that uses systemd: ``…-pod<uid>.slice:cri-containerd:<id>``.
* Kata Containers: ``/kubepods/…/kata_<id>`` contains a sandbox's virtual machine (docs/design/host-cgroups.md).

Runtimes that use names instead of ids are handled in `named_containers`.

Everything below a container's directory (``crio-<id>.scope/container``, a systemd inside) belongs to it. With nested
containers (kind, minikube, Docker in Docker) the innermost one counts, because it did the work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .named_containers import named_container

_RUNTIMES = {
    "cri-containerd": "containerd",
    "containerd": "containerd",
    "nerdctl": "containerd",
    "default": "containerd",
    "k8s.io": "containerd",
    "crio": "cri-o",
    "docker": "docker",
    "moby": "docker",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_CONTAINER = re.compile(r"(?:.*?:)?(?:(?P<prefix>[\w.-]+)[-:])?(?P<kata>kata_)?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_FARGATE = re.compile(r"[0-9a-f]{32}-\d{6,}")
_POD = re.compile(r"(?:(?P<slice>.*)-)?pod(?P<uid>[0-9a-f]{32}|[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")
_QOS = ("burstable", "besteffort")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Container:
    """What a path says about the container it belongs to.

    ``directory``: the path down to the container's own directory. ``id``: the runtime's id, or the name if it has none.
    ``runtime``: containerd, cri-o, docker, podman, kata, garden, lxc, mesos, nomad, systemd-nspawn; empty if the path
    does not show it (bare ids below a pod). ``pod_uid``: with dashes, as in the API server (static pods: 32 digits
    without dashes, the hash of their manifest); empty outside Kubernetes.
    ``qos``: guaranteed, burstable, besteffort; empty outside Kubernetes.
    """

    directory: str
    id: str
    runtime: str = ""
    pod_uid: str = ""
    qos: str = ""


@lru_cache(maxsize=1024)  # a thousand containers are looked up again at every change; a path never changes its meaning
def container_of(path: str) -> Container | None:
    """The innermost container of a cgroup ``path``; None for host processes, pod directories and conmon."""
    original = path.split("/")
    parts = [_unescaped(part) for part in original]
    for depth in range(len(parts) - 1, -1, -1):
        found = _identified(parts, depth)
        if found:
            uid, qos = _pod(parts[: depth + 1])
            return Container("/".join(original[: depth + 1]), *found, uid, qos)
    return None


def container_directory(path: str) -> str:
    """The directory of the container that ``path`` is in or below; ``path`` itself if there is none."""
    container = container_of(path)
    return container.directory if container else path


def cgroup_paths(proc_cgroup_text: str) -> dict[str, str]:
    """Controller → path for each line of ``/proc/<pid>/cgroup``; version 2 has the empty controller."""
    paths: dict[str, str] = {}
    for line in proc_cgroup_text.splitlines():
        _, colon, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if colon and second:
            # the kernel marks a directory that was removed while a process was still in it
            paths.update(dict.fromkeys(controllers.split(","), path.removesuffix(" (deleted)")))
    return paths


def _identified(parts: list[str], depth: int) -> tuple[str, str] | None:
    """Id and runtime if the part at ``depth`` is a container's directory."""
    part, parent = parts[depth], parts[depth - 1] if depth else ""
    if _FARGATE.fullmatch(part) and "ecs" in parts[:depth]:
        return part, ""
    match = _CONTAINER.fullmatch(part)
    if not match:
        return named_container(parts, depth, lambda above: _identified(parts, above) is not None)
    prefix = match["prefix"]
    if prefix and prefix.endswith("conmon"):
        return None  # the monitor of a CRI-O or podman container runs outside it
    return match["id"], "kata" if match["kata"] else _RUNTIMES.get(prefix or parent, "")


def _pod(parts: list[str]) -> tuple[str, str]:
    """Uid and QoS class of the innermost pod among ``parts``; both empty if there is none."""
    for depth in range(len(parts) - 1, -1, -1):
        # the part may continue with the container (":cri-containerd:<id>")
        match = _POD.fullmatch(parts[depth].partition(":")[0].removesuffix(".slice"))
        if match:
            named = (match["slice"] or parts[depth - 1]).rpartition("-")[2]
            return match["uid"].replace("_", "-"), named if named in _QOS else "guaranteed"
    return "", ""


def _unescaped(part: str) -> str:
    """``part`` as it was before systemd escaped it, see systemd-escape(1)."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), part) if "\\" in part else part
