# SPDX-License-Identifier: Apache-2.0
"""Whether we see the host or only a container's view of it: cgroups and namespaces."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.namespaces import HOST_NAMESPACES, in_host_namespace
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy


class CgroupVersion(StrEnum):
    """``hybrid``: version 1 controllers next to a version 2 tree without controllers."""

    V1 = "v1"
    V2 = "v2"
    HYBRID = "hybrid"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Cgroups:
    """``controller``: the hierarchy that identifies containers (see cgroup_tree.py), at ``root``.

    ``whole``: whether the host's whole tree is visible there.
    """

    version: CgroupVersion
    controller: str
    root: Path
    whole: bool


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Whether ours are the host's; None if that cannot be read."""

    cgroup: bool | None
    pid: bool | None
    user: bool | None


def read_cgroups(root: Path) -> Cgroups:
    """What is mounted below ``root``/sys/fs/cgroup."""
    top = root / "sys/fs/cgroup"
    found = find_hierarchy(top)
    version = _version(top, found.controller)
    # cgroup.type is in every directory but the first of the tree, release_agent of version 1 only in that one
    # (kernel/cgroup/cgroup.c: CFTYPE_NOT_ON_ROOT, CFTYPE_ONLY_ON_ROOT); namespaces do not change that
    v2 = found.controller == "v2"
    whole = not (found.root / "cgroup.type").exists() if v2 else (found.root / "release_agent").exists()
    return Cgroups(version, found.controller, found.root, whole)


def _version(top: Path, controller: str) -> CgroupVersion:
    if controller != "v2":
        unified = (top / "unified" / "cgroup.procs").exists()
        return CgroupVersion.HYBRID if unified else CgroupVersion.V1
    return CgroupVersion.V2 if (top / "cgroup.controllers").exists() else CgroupVersion.NONE


def read_namespaces(root: Path) -> Namespaces:
    """Those of this process, from ``root``/proc/self/ns."""
    return Namespaces(**{kind: in_host_namespace(kind, root / "proc") for kind in HOST_NAMESPACES})
