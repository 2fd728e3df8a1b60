# SPDX-License-Identifier: Apache-2.0
"""The options that the kernel was built with, and what each is needed for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.probe.model import Alternative

NEEDED = {
    "CONFIG_BPF_SYSCALL": "the system call bpf(2)",
    "CONFIG_PERF_EVENTS": "attaching programs to tracepoints",
    "CONFIG_EVENT_TRACING": "tracepoints",
    "CONFIG_BPF_EVENTS": "programs at tracepoints",
    "CONFIG_CGROUPS": "telling containers apart",
}
"""Without one of these nothing works."""

USEFUL: Mapping[str, tuple[str, Callable[[Alternative], bool]]] = {
    "CONFIG_BPF_JIT": ("without it programs are interpreted, several times slower", lambda _: True),
    "CONFIG_DEBUG_INFO_BTF": (
        "without it hooks that read the kernel's structures are missing",
        lambda way: bool(way.btf),
    ),
    "CONFIG_MEMCG": (
        "without it there is no memory pressure per container",
        lambda way: way.event.startswith("vmscan:mm_vmscan_memcg_"),
    ),
    "CONFIG_KPROBES": (
        "without it hooks have no kprobe as an alternative",
        lambda way: way.attach in ("kprobe", "kretprobe"),
    ),
    "CONFIG_FTRACE_SYSCALLS": (
        "without it there are no tracepoints of single system calls",
        lambda way: way.event.startswith("syscalls:"),
    ),
}
"""What is lost without them, and which ways into the kernel that concerns."""


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """``options``: those that are set, with their values (``y``, ``m``, …); ``source``: the file."""

    options: Mapping[str, str]
    source: Path

    def missing(self, names: Iterable[str]) -> list[str]:
        """Which of ``names`` are not built in."""
        return [name for name in names if self.options.get(name) != "y"]


def read_kernel_config(root: Path, release: str) -> KernelConfig | None:
    """The running kernel's, from the kernel itself or from where distributions put it; None where there is none."""
    places = (
        root / "proc/config.gz",
        root / "boot" / f"config-{release}",
        root / "lib/modules" / release / "config",
    )
    for place in places:
        text = _text(place)
        if text:
            return KernelConfig(_options(text), place)
    return None


def _text(place: Path) -> str:
    try:
        data = place.read_bytes()
        return (gzip.decompress(data) if place.suffix == ".gz" else data).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        return ""


def _options(text: str) -> Mapping[str, str]:
    lines = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value.strip() for name, _, value in lines}
