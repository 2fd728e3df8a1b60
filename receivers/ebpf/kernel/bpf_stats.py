# SPDX-License-Identifier: Apache-2.0
"""Run statistics of BPF programs: the kernel counts them only on request, because that costs some nanoseconds."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .bpf_syscall import Command, opened, packed

_RUN_TIME = struct.Struct("<I")  # BPF_STATS_RUN_TIME is 0
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
    return opened(Command.ENABLE_STATS, packed(_RUN_TIME, 0))


def _on_anyway(proc: Path) -> bool:
    """Whether the administrator has enabled counting permanently."""
    try:
        return (proc / _SWITCH).read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False
