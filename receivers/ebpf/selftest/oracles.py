# SPDX-License-Identifier: Apache-2.0
"""Values from the kernel, the clock and the workload itself, read without any of the probes' code."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ebpf_sidecar.pipeline.process.libc import libc_call
from ebpf_sidecar.receivers.ebpf.kernel.diskstats import Disks
from ebpf_sidecar.receivers.ebpf.kernel.system_call import system_call

PAGE = mmap.PAGESIZE


class Unavailable(Exception):  # noqa: N818 # an answer, not an error
    """The oracle is unavailable here; the text says why."""


class Expected(NamedTuple):
    """A value, and its uncertainty on either side."""

    value: float
    half: float = 0.0


@dataclass(frozen=True, slots=True)
class Readings:
    """One reading of everything. ``cachestat`` is None if the kernel lacks that call."""

    io: Mapping[str, int]
    resident: int
    cachestat: int | None
    faults: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """The readings before and after the workload. ``disks`` has the lowest and the highest possible difference: the
    disks are read right before and right after each reading of the probes."""

    facts: Mapping[str, float]
    before: Readings
    after: Readings
    disks: tuple[Disks, Disks]

    def grown(self, field: str) -> float:
        """By how much a field of /proc/<pid>/io grew."""
        if field not in self.before.io:
            raise Unavailable(f"/proc/<pid>/io has no {field} here")
        return self.after.io[field] - self.before.io[field]


@dataclass(frozen=True, slots=True)
class Oracle:
    """``name``: as displayed."""

    name: str
    ask: Callable[[Observation, str], Expected]


def _known(seen: Observation, fact: str) -> Expected:
    return Expected(0 if fact == "none" else seen.facts[fact])


def _cachestat_added(seen: Observation, _: str) -> Expected:
    if seen.before.cachestat is None or seen.after.cachestat is None:
        raise Unavailable("this kernel has no cachestat(2) (it came with 6.5)")
    return Expected(seen.after.cachestat - seen.before.cachestat)


def _range(low: float, high: float) -> Expected:
    return Expected((low + high) / 2, (high - low) / 2)


def _operations(which: str) -> Callable[[Observation, str], Expected]:
    return lambda seen, _: _range(*(disks.operations[which] for disks in seen.disks))


def _sizes(which: str) -> Callable[[Observation, str], Expected]:
    return lambda seen, _: _range(*(disks.sizes[which] for disks in seen.disks))


def _faults(which: str) -> Callable[[Observation, str], Expected]:
    return lambda seen, _: Expected(seen.after.faults[which] - seen.before.faults[which])


def _all_faults(seen: Observation, _: str) -> Expected:
    return Expected(sum(seen.after.faults.values()) - sum(seen.before.faults.values()))


ORACLES: Mapping[str, Oracle] = {
    "known": Oracle("known number", _known),
    "own_clock": Oracle("the caller's own clock", lambda seen, _: Expected(seen.facts["seconds"])),
    "read_bytes": Oracle("read_bytes in /proc/<pid>/io", lambda seen, _: Expected(seen.grown("read_bytes") / PAGE)),
    "rchar": Oracle("rchar in /proc/<pid>/io", lambda seen, _: Expected(seen.grown("rchar"))),
    "wchar": Oracle("wchar in /proc/<pid>/io", lambda seen, _: Expected(seen.grown("wchar"))),
    "mincore_added": Oracle("mincore(2)", lambda seen, _: Expected(seen.after.resident - seen.before.resident)),
    "mincore_removed": Oracle("mincore(2)", lambda seen, _: Expected(seen.before.resident - seen.after.resident)),
    "cachestat_added": Oracle("cachestat(2)", _cachestat_added),
    "minor_faults": Oracle("minflt in /proc/<pid>/stat", _faults("minor")),
    "major_faults": Oracle("majflt in /proc/<pid>/stat", _faults("major")),
    "faults": Oracle("minflt and majflt in /proc/<pid>/stat", _all_faults),
    "diskstats_reads": Oracle("/proc/diskstats", _operations("reads")),
    "diskstats_writes": Oracle("/proc/diskstats", _operations("writes")),
    "diskstats_read_bytes": Oracle("/proc/diskstats", _sizes("reads")),
    "diskstats_write_bytes": Oracle("/proc/diskstats", _sizes("writes")),
}


def read_io(pid: int, proc: Path) -> Mapping[str, int]:
    """The values in /proc/<pid>/io; empty if it cannot be read."""
    try:
        lines = (proc / str(pid) / "io").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {name.rstrip(":"): int(value) for name, value in map(str.split, lines)}


def read_faults(pid: int, proc: Path) -> Mapping[str, int]:
    """Page faults of the process so far, ``minor`` and ``major`` (proc_pid_stat(5))."""
    fields = (proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return {"minor": int(fields[7]), "major": int(fields[9])}


def resident_pages(path: Path) -> int:
    """Pages of the file that are in the page cache, by mincore(2)."""
    size = path.stat().st_size if path.exists() else 0
    if not size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE,
                                            prot=mmap.PROT_READ | mmap.PROT_WRITE) as view:  # fmt: skip
        there = ctypes.create_string_buffer(-(-size // PAGE))
        start = (ctypes.c_char * size).from_buffer(view)
        libc_call("mincore", start, size, there)
        del start  # otherwise the view cannot be closed
        return sum(byte & 1 for byte in there.raw)


class Cached(NamedTuple):
    """Pages of a file in the page cache, and how many of them are dirty or being written back."""

    pages: int
    dirty: int
    writeback: int


def cached_pages(path: Path) -> int | None:
    """`resident_pages` by cachestat(2); None if the kernel does not have it."""
    found = cache_of(path) if path.exists() else Cached(0, 0, 0)
    return found and found.pages


def cache_of(path: Path) -> Cached | None:
    """A file's page cache by cachestat(2); None if the kernel does not have it (before 6.5, or filtered)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        whole, answer = struct.pack("<QQ", 0, 0), ctypes.create_string_buffer(40)
        system_call("cachestat", descriptor, whole, answer, 0)
    except OSError as refusal:
        if refusal.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        return None
    finally:
        os.close(descriptor)
    return Cached(*struct.unpack("<3Q", answer.raw[:24]))
