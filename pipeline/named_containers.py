# SPDX-License-Identifier: Apache-2.0
"""Containers whose cgroup path has a name instead of an id of 64 hexadecimal digits.

The forms, and the code that creates them:

* LXC, Incus, LXD: ``/lxc.payload.<name>`` since LXC 4.0, ``/lxc/<name>`` before and on Proxmox, which adds ``/ns``
  (lxc.container.conf(5), ``lxc.cgroup.pattern``; src/lxc/cgroups/cgfsng.c). ``lxc.monitor.<name>`` is outside it.
* systemd-nspawn: ``systemd-nspawn@<name>.service`` as a service, else ``machine-<name>.scope`` as systemd-machined
  registers it (src/machine/machine-dbus.c); the payload is in ``payload``, nspawn itself in ``supervisor``
  (src/nspawn/nspawn-cgroup.c). libvirt registers machines likewise: ``machine-lxc-<pid>-<name>.scope`` is a container,
  ``machine-qemu-…`` is not.
* Nomad's drivers exec, java and raw_exec: ``nomad.slice/…/<allocation>.<task>.scope``, on v1 ``/nomad/…/<allocation>…``
  (client/lib/cgroupslib/editor.go); up to 1.3 ``/nomad/<uuid>``.
* ``ctr run`` and other clients of containerd: ``/<namespace>/<name>`` (oci.WithNamespacedCgroup). Any word can be a
  namespace, so only the two default ones are recognized, and only at the top level or directly inside a container.
* Garden (Cloud Foundry, Concourse): ``…/garden[-<tag>]/[good|bad/]<handle>`` (guardian, guardiancmd/command.go); a
  handle may be any word; those that Garden, Diego and Concourse create are five groups of hexadecimal digits.
* Mesos: ``/mesos/<uuid>``, nested ones ``/mesos/<uuid>/mesos/<uuid>`` (``--cgroups_root``; the containerizer's
  containers/paths).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LXC = re.compile(r"lxc\.payload\.(?P<payload>.+)|machine-lxc-\d+-(?P<id>.+)\.scope")
_NSPAWN = re.compile(r"systemd-nspawn@(?P<id>.+)\.service|machine-(?!qemu-|lxc-)(?P<machine>.+)\.scope")
_NOMAD = re.compile(rf"(?P<id>{_UUID}(?:[.-].+?)?)(?:\.scope)?")
_GARDEN = re.compile(r"garden(?:-.+)?")
_HANDLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{4,12}")
_MESOS = re.compile(_UUID)
_CONTAINERD = re.compile(r"(?=.{1,76}$)[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_NAMESPACES = ("default", "k8s.io")
_ABOVE = {"", ".."}
_SUPERVISOR = "supervisor"


def named_container(parts: Sequence[str], depth: int, inside: Callable[[int], bool]) -> tuple[str, str] | None:
    """Name and runtime if the part at ``depth`` is the directory of such a container.

    ``parts``: the unescaped parts of a path that starts with ``/``. ``inside``: whether the part at a depth is a
    container's directory.
    """
    part, above = parts[depth], parts[:depth]
    if not above or not part:
        return None
    for runtime, name_in in _RULES.items():
        if name := name_in(part, above):
            hidden = runtime == "systemd-nspawn" and parts[depth + 1 : depth + 2] == [_SUPERVISOR]
            return None if hidden else (name, runtime)
    if above[-1] in _NAMESPACES and _CONTAINERD.fullmatch(part) and (set(above[:-1]) <= _ABOVE or inside(depth - 2)):
        return part, "containerd"
    return None


def _lxc(part: str, above: Sequence[str]) -> str:
    match = _LXC.fullmatch(part)
    if match:
        return match["payload"] or match["id"]
    return part if above[-1] == "lxc" else ""


def _nspawn(part: str, _above: Sequence[str]) -> str:
    match = _NSPAWN.fullmatch(part)
    return match["id"] or match["machine"] if match else ""


def _nomad(part: str, above: Sequence[str]) -> str:
    match = _NOMAD.fullmatch(part)
    return match["id"] if match and {"nomad", "nomad.slice"}.intersection(above) else ""


def _mesos(part: str, above: Sequence[str]) -> str:
    return part if above[-1] == "mesos" and _MESOS.fullmatch(part) else ""


def _garden(part: str, above: Sequence[str]) -> str:
    return part if _HANDLE.fullmatch(part) and any(map(_GARDEN.fullmatch, above[-2:])) else ""


_RULES: Mapping[str, Callable[[str, Sequence[str]], str]] = {
    "lxc": _lxc,
    "systemd-nspawn": _nspawn,
    "nomad": _nomad,
    "mesos": _mesos,
    "garden": _garden,
}
"""By runtime: the container's name from a part and its parents; empty if there is none."""
