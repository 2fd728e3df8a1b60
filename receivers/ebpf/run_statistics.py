# SPDX-License-Identifier: Apache-2.0
"""How often the kernel ran our programs: counted only while somebody asks for it, because it costs some nanoseconds."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .bpf_call import BPF_NUMBER

_ENABLE_STATS = 32  # since 5.8; needs CAP_SYS_ADMIN
_SWITCH = Path("sys/kernel/bpf_stats_enabled")


@contextmanager
def run_statistics(proc: Path = Path("/proc")) -> Iterator[bool]:
    """Let the kernel count runs as long as the context lasts; false where it does not let us."""
    descriptor = _enable()
    try:
        yield descriptor >= 0 or _on_anyway(proc)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _enable() -> int:
    """The descriptor that keeps counting on, -1 when refused."""
    attributes = ctypes.create_string_buffer(struct.pack("<I", 0), 128)  # 0: BPF_STATS_RUN_TIME
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(BPF_NUMBER[platform.machine()], _ENABLE_STATS, attributes, 128))


def _on_anyway(proc: Path) -> bool:
    """Whether the administrator has switched counting on for good."""
    try:
        return (proc / _SWITCH).read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False
