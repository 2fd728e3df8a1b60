# SPDX-License-Identifier: Apache-2.0
"""Which processes to measure: the user's settings, and what the kernel programs need before anything is attached."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.receivers.ebpf.probe.model import MapSpec

TARGET_CGROUPS = "target_cgroups"
"""The C name of the map of target cgroups, and in capitals the macro that enables it."""
CGROUPS = MapSpec(
    TARGET_CGROUPS, TARGET_CGROUPS, 4096, "one entry per target cgroup, nested ones included", key=8, value=8
)
"""Including nested ones. How many there can be at a time depends on the budget, like the probes' maps."""

CGROUP_NUMBER = re.compile(r"[1-9][0-9]{0,10}")
"""An inode number. Cgroups have numbers below 2^32 until four billion were created; longer ones are container ids."""
_ID = re.compile(r"[0-9a-f]{12,64}")
_NAME_BYTES = 16
_NAMESPACE_FIELDS = (
    "task_struct.thread_pid",
    "pid.level",
    "pid.numbers",
    "upid.ns",
    "pid_namespace.ns",
    "ns_common.inum",
)
_KERNEL_THREAD_FIELD = "task_struct.flags"


class TargetSettings(Settings):
    """Which processes to measure. An empty list matches all; a process must match every list that is not empty."""

    cgroups: tuple[str, ...] = ()
    """Cgroups by path as in ``/proc/<pid>/cgroup`` (with ``*`` and ``?``) or by id (up to 11 digits: the number that
    ``stat -c %i`` shows for the directory), or containers by id (12 or more digits, as ``docker ps`` shows); including
    nested ones. A cgroup created later is measured from the start if it is nested in a target or the pattern is a path
    that ends with ``/*``, otherwise from the next reading on."""
    executables: tuple[str, ...] = ()
    """Processes by name as in ``/proc/<pid>/comm``; longer names are truncated to 15 bytes. I/O that kernel threads
    submit on behalf of a cgroup has no name, and is not measured."""
    pid_namespaces: tuple[int | Literal["self"], ...] = ()
    """PID namespaces by number as in ``/proc/<pid>/ns/pid``, or ``self``. Processes in nested ones are not included."""
    kernel_threads: bool = True
    """Whether to measure the kernel's own threads, for example when they write back dirty pages: they belong to no
    container and match none of the lists."""

    @property
    def restricted(self) -> bool:
        """Whether anything is excluded."""
        return bool(self.cgroups or self.executables or self.pid_namespaces or not self.kernel_threads)

    @field_validator("cgroups")
    @classmethod
    def _paths_or_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not each.startswith("/") and not _ID.fullmatch(each) and not CGROUP_NUMBER.fullmatch(each):
                raise ValueError(
                    f"\"{each}\" is neither a cgroup's path or number nor a container's id; write a path that "
                    'starts with "/", the number of its directory, or at least 12 digits of the container\'s id'
                )
        return value

    @field_validator("executables")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not each or "/" in each:
                raise ValueError(f'"{each}" is not the name of an executable; write it without a path')
        return value

    @field_validator("pid_namespaces")
    @classmethod
    def _numbers(cls, value: tuple[int | str, ...]) -> tuple[int | str, ...]:
        for each in value:
            if isinstance(each, int) and not 0 < each < 1 << 32:
                raise ValueError(f'"{each}" is not a namespace\'s number; see ls -L -i /proc/<pid>/ns/pid')
        return value


@dataclass(frozen=True, slots=True)
class KernelTargets:
    """What the loader needs: ``macros`` for the C code, ``btf`` fields, ``sets`` of keys in hexadecimal."""

    macros: Mapping[str, int] = field(default_factory=dict)
    btf: tuple[str, ...] = ()
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def kernel_targets(settings: TargetSettings, proc: Path, btf: Path = Path("/sys/kernel/btf/vmlinux")) -> KernelTargets:
    """The kernel's side of ``settings``. Raises `ProbeError` for what this kernel does not support."""
    if not settings.restricted:
        return KernelTargets()
    if settings.pid_namespaces and not btf.exists():
        raise ProbeError(
            "targets::pid_namespaces: needs the kernel's type information (CONFIG_DEBUG_INFO_BTF), which this kernel "
            "lacks; choose by cgroups instead"
        )
    names = tuple(dict.fromkeys(_name(each).hex() for each in settings.executables))
    spaces = tuple(dict.fromkeys(struct.pack("<Q", _number(each, proc)).hex() for each in settings.pid_namespaces))
    sizes = {
        "TARGET_CGROUPS": int(bool(settings.cgroups)),
        "TARGET_NAMES": len(names),
        "TARGET_NAMESPACES": len(spaces),
    }
    constants = {"TARGETS": 1, "TARGET_KERNEL_THREADS": int(settings.kernel_threads), "UPID_BYTES": 16}
    return KernelTargets(
        macros={**constants, **{name: size for name, size in sizes.items() if size}},
        btf=(_KERNEL_THREAD_FIELD, *(_NAMESPACE_FIELDS if spaces else ())),
        sets={name: keys for name, keys in (("target_names", names), ("target_namespaces", spaces)) if keys},
    )


def _name(text: str) -> bytes:
    """As the kernel stores it: 15 bytes and a NUL."""
    return text.encode()[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0")


def _number(namespace: int | str, proc: Path) -> int:
    return (proc / "self/ns/pid").stat().st_ino if isinstance(namespace, str) else namespace
