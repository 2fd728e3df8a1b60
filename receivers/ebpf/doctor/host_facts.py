# SPDX-License-Identifier: Apache-2.0
"""Facts about the host, read below one root so that tests can pass a small tree. Nothing is judged here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.btf import KERNEL_BTF, Btf
from ebpf_sidecar.receivers.ebpf.kernel.refusals import ProcessPrivileges, privileges_in
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import PLACES, Tracefs, find_tracefs, is_mounted
from ebpf_sidecar.receivers.ebpf.loading.plan import KernelTypes

from .bio_devices import BioDevice, read_bio_devices
from .kernel_config import KernelConfig, read_kernel_config
from .surroundings import Cgroups, Namespaces, read_cgroups, read_namespaces
from .system import System

_SYSCTLS = ("perf_event_paranoid", "unprivileged_bpf_disabled", "bpf_stats_enabled")
_LOCKDOWN = "sys/kernel/security/lockdown"
_CHOSEN = re.compile(r"\[(\w+)\]")


class Tracing(StrEnum):
    """``absent``: the kernel does not support it. ``hidden``: not mounted, and unreadable when we mount it."""

    READABLE = "readable"
    UNREADABLE = "unreadable"
    NOT_MOUNTED = "not mounted"
    HIDDEN = "hidden"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """``privileges``: those of this process. ``lockdown``: none, integrity, confidentiality, or empty if unknown.
    ``sysctls``: the readable ones in /proc/sys/kernel."""

    system: System
    privileges: ProcessPrivileges
    config: KernelConfig | None
    types: KernelTypes | None
    tracing: Tracing
    tracefs: Tracefs | None
    lockdown: str
    sysctls: Mapping[str, int]
    cgroups: Cgroups
    namespaces: Namespaces
    bio_devices: Sequence[BioDevice] = ()


def read_host_facts(system: System, root: Path = Path("/")) -> HostFacts:
    """The facts about the host whose file systems are below ``root``."""
    places = tuple(_below(root, place) for place in PLACES)
    tracefs = find_tracefs(places)
    return HostFacts(
        system=system,
        privileges=privileges_in(root / "proc", system.release, system.memlock),
        config=read_kernel_config(root, system.release),
        types=Btf.of_kernel(_below(root, KERNEL_BTF)),
        tracing=Tracing.READABLE if tracefs else _tracing(root, places[0]),
        tracefs=tracefs,
        lockdown=(_CHOSEN.search(_text(root / _LOCKDOWN)) or ["", ""])[1],
        sysctls=_sysctls(root / "proc/sys/kernel"),
        cgroups=read_cgroups(root),
        namespaces=read_namespaces(root),
        bio_devices=read_bio_devices(root),
    )


def _below(root: Path, place: Path) -> Path:
    return root / place.relative_to("/")


def _tracing(root: Path, place: Path) -> Tracing:
    """Why tracefs cannot be read. Only root may enter its directory, so this is decided by the list of mounts."""
    if is_mounted(root / "proc/self/mounts"):
        return Tracing.UNREADABLE
    return Tracing.NOT_MOUNTED if place.exists() else Tracing.ABSENT


def _sysctls(folder: Path) -> Mapping[str, int]:
    texts = {name: _text(folder / name).strip() for name in _SYSCTLS}
    return {name: int(text) for name, text in texts.items() if re.fullmatch(r"-?\d+", text)}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
