# SPDX-License-Identifier: Apache-2.0
"""How much memory the service uses, and how much it may use at most."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.container_path import cgroup_paths
from ebpf_sidecar.pipeline.host import Paths

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LIMITS = {"": ("", "memory.max"), "memory": ("memory", "memory.limit_in_bytes")}
"""Controller of /proc/self/cgroup → its directory below the mount point, and the file with the limit."""


class ServiceMemory:
    """The resident memory of the service's processes, and its last reading, which may be ``seconds`` old."""

    def __init__(self, proc: Path, clock: Clock, seconds: float) -> None:
        self._proc, self._clock, self._seconds = proc, clock, seconds
        self._used, self._read_at = 0, -seconds

    def now(self) -> int:
        """Bytes, read now. Raises `OSError`."""
        self._used, self._read_at = resident(self._proc), self._clock.monotonic()
        return self._used

    def recently(self) -> int:
        """Bytes as last read, or read now if that was too long ago; the last reading if /proc cannot be read."""
        with suppress(OSError):
            return self.now() if self._clock.monotonic() >= self._read_at + self._seconds else self._used
        return self._used


def resident(proc: Path, pid: str = "self") -> int:
    """Bytes of resident memory of a process and its descendants, such as the privilege broker.

    Pages that they share count for each of them. Raises `OSError` if the process itself cannot be read.
    """
    total = _resident(proc / pid)
    for process in _descendants(proc, proc / pid):
        with suppress(OSError):  # it has just ended
            total += _resident(process)
    return total


def available(paths: Paths) -> int:
    """Bytes that the service can use: the limit of its cgroup or of one above it (version 1 or 2), or all memory.

    Raises `OSError` if /proc cannot be read.
    """
    lines = (paths.proc / "meminfo").read_text(encoding="ascii").splitlines()
    [machine] = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemTotal:")]
    return min([machine, *_cgroup_limits(paths)])


def _resident(process: Path) -> int:
    return int((process / "statm").read_text(encoding="ascii").split()[1]) * _PAGE


def _descendants(proc: Path, process: Path) -> Iterator[Path]:
    """Kernels without CONFIG_PROC_CHILDREN show none."""
    for children in process.glob("task/*/children"):
        with suppress(OSError):
            for pid in children.read_text(encoding="ascii").split():
                yield proc / pid
                yield from _descendants(proc, proc / pid)


def _cgroup_limits(paths: Paths) -> Iterator[int]:
    own = cgroup_paths((paths.proc / "self/cgroup").read_text(encoding="utf-8", errors="replace"))
    for controller, (directory, name) in _LIMITS.items():
        root = paths.cgroup / directory
        # in a container the mount point is often its own cgroup, whatever the path says
        below = Path(own.get(controller, "/").lstrip("/"))
        for each in () if ".." in below.parts else (below, *below.parents):
            with suppress(OSError):
                text = (root / each / name).read_text(encoding="ascii").strip()
                if text.isdigit():  # "max" is no limit
                    yield int(text)
