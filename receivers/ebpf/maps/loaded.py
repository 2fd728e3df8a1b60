# SPDX-License-Identifier: Apache-2.0
"""The kernel objects after loading, as the reader sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import program_misses, program_runs
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import close_all

from .generation import Generation
from .kernel_map import KernelMap


@dataclass(frozen=True, slots=True)
class HookStatus:
    """A hook of a probe; ``program`` is empty if it is not attached, and ``reason`` then says why.

    ``brief``: the reason in a few words, if it is longer. ``way``: where it is attached, as ``kprobe filemap_read``.
    """

    probe: str
    hook: str
    program: str
    reason: str
    way: str = ""
    brief: str = ""

    @property
    def in_brief(self) -> str:
        """The reason for a label."""
        return self.brief or self.reason

    @property
    def attached(self) -> bool:
        """Whether events reach the probe through this hook."""
        return bool(self.program)


@dataclass(frozen=True, slots=True)
class Program:
    """A program in the kernel. ``attachments``: the descriptors that keep it attached."""

    name: str
    fd: int
    attachments: tuple[int, ...] = ()

    def runs(self) -> tuple[int, int]:
        """Runs and nanoseconds spent in them, both 0 while kernel.bpf_stats_enabled is off. Raises `OSError`."""
        return program_runs(self.fd)

    def missed(self) -> int:
        """Events for which the kernel did not run it, because it was already running on that CPU. Raises `OSError`."""
        return program_misses(self.fd)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that keep it in the kernel, attachments first."""
        return (*self.attachments, self.fd)


@dataclass(frozen=True, slots=True)
class Drops:
    """Events that could not be counted. ``reasons``: in the map's order; a map's published name means that it was
    full."""

    map: KernelMap
    reasons: Sequence[str]

    def read(self) -> Mapping[str, int]:
        """How many since loading, by reason."""
        _, counts = self.map.read()
        return dict(zip(self.reasons, counts[:, 0].tolist(), strict=False))


@dataclass(frozen=True)
class LoadedProbes:
    """Attached probes. They stop when this is closed or the process ends.

    ``maps``: by published name. ``unavailable``: reasons by metric; such metrics must be absent, never zero.
    ``cgroup_hierarchy``: where the ids in keys come from: ``v2``, or the name of a v1 controller. ``compile_seconds``
    and ``peak_rss_bytes``: those of the loader. ``kept``: whether the programs came from the cache.
    """

    maps: Mapping[str, KernelMap]
    hooks: tuple[HookStatus, ...]
    unavailable: Mapping[str, str]
    programs: tuple[Program, ...]
    drops: Drops
    generation: Generation
    cgroup_hierarchy: str
    compile_seconds: float
    peak_rss_bytes: int
    descriptors: tuple[int, ...] = field(repr=False)
    targets: KernelMap | None = None
    """The set of target cgroups, if any."""
    calls: KernelMap | None = None
    """What the shared programs do for each system call, if probes follow any."""
    own_hooks: tuple[HookStatus, ...] = ()
    """The reader's own hooks, which belong to no probe. Their programs are not among ``programs``."""
    new_cgroups: KernelMap | None = None
    """Cgroups created since the last reading, if the kernel reports them; see new_cgroups.py."""
    new_names: KernelMap | None = None
    """Processes that took a possibly truncated name since the last reading, if configured and reported; see
    new_names.py."""
    kept: bool = False
    _closed: list[bool] = field(default_factory=list, repr=False, compare=False)

    def close(self) -> None:
        """Detach all hooks and let the kernel free programs and maps. May be called twice."""
        if not self._closed:
            self._closed.append(True)
            for kernel_map in self.maps.values():
                if kernel_map.near is not None:
                    kernel_map.near.close()
            close_all(self.descriptors)

    def __enter__(self) -> LoadedProbes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
