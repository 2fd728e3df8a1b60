# SPDX-License-Identifier: Apache-2.0
"""Run statistics of BPF programs: the kernel counts them only on request, because that costs some nanoseconds."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .bpf_syscall import BPF_NUMBER

_ENABLE_STATS = 32  # since 5.8; needs CAP_SYS_ADMIN
_SWITCH = Path("sys/kernel/bpf_stats_enabled")


@contextmanager
def run_statistics(proc: Path = Path("/proc"), enable: Callable[[], int] | None = None) -> Iterator[bool]:
    """Let the kernel count runs within the context; False if it refuses.

    ``enable``: by default `enable_statistics`.
    """
    try:
        descriptor = (enable or enable_statistics)()
    except OSError:
        descriptor = -1
    try:
        yield descriptor >= 0 or _on_anyway(proc)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def enable_statistics() -> int:
    """The descriptor that keeps counting enabled. Raises `OSError` if that is refused."""
    attributes = ctypes.create_string_buffer(struct.pack("<I", 0), 128)  # 0: BPF_STATS_RUN_TIME
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(BPF_NUMBER[platform.machine()], _ENABLE_STATS, attributes, 128))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def _on_anyway(proc: Path) -> bool:
    """Whether the administrator has enabled counting permanently."""
    try:
        return (proc / _SWITCH).read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False
