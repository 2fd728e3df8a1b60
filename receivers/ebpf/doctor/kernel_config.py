# SPDX-License-Identifier: Apache-2.0
"""The kernel's build options, and what each is needed for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.probe.model import AttachPoint

NEEDED = {
    "CONFIG_BPF_SYSCALL": "the system call bpf(2)",
    "CONFIG_PERF_EVENTS": "attaching programs to tracepoints",
    "CONFIG_EVENT_TRACING": "tracepoints",
    "CONFIG_BPF_EVENTS": "programs at tracepoints",
    "CONFIG_CGROUPS": "attributing events to containers",
}
"""Without one of these nothing works."""

USEFUL: Mapping[str, tuple[str, Callable[[AttachPoint], bool]]] = {
    "CONFIG_BPF_JIT": ("without it programs are interpreted, several times slower", lambda _: True),
    "CONFIG_DEBUG_INFO_BTF": (
        "without it hooks that read the kernel's structures are missing",
        lambda point: bool(point.btf),
    ),
    "CONFIG_MEMCG": (
        "without it there is no memory pressure per container",
        lambda point: point.event.startswith("vmscan:mm_vmscan_memcg_"),
    ),
    "CONFIG_KPROBES": (
        "without it hooks have no kprobe as an alternative",
        lambda point: point.attach in ("kprobe", "kretprobe"),
    ),
    "CONFIG_FTRACE_SYSCALLS": (
        "without it there are no tracepoints of single system calls",
        lambda point: point.event.startswith("syscalls:"),
    ),
}
"""What is lost without them, and which attach points are affected."""


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """``options``: the options that are set, with their values (``y``, ``m``, …); ``source``: the file."""

    options: Mapping[str, str]
    source: Path

    def missing(self, names: Iterable[str]) -> list[str]:
        """Which of ``names`` are not built in."""
        return [name for name in names if self.options.get(name) != "y"]


def read_kernel_config(root: Path, release: str) -> KernelConfig | None:
    """The running kernel's configuration, from /proc or where distributions install it; None if there is none."""
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
