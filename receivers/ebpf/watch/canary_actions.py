# SPDX-License-Identifier: Apache-2.0
"""Small harmless actions that trigger hooks: a child process, and one page of a temporary file on a disk."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.pipeline.process.isolation import bare_python, start
from ebpf_sidecar.receivers.ebpf.kernel.disk_folder import find_disk_folder, mounts_of
from ebpf_sidecar.receivers.ebpf.kernel.diskstats import disk_of, read_disk, scheduler_of
from ebpf_sidecar.receivers.ebpf.probe.model import Action

_SHELL = Path("/bin/sh")
_SCRIPT = "trap : USR1; kill -USR1 $$"
_WITHOUT_SHELL = "import os, signal as s; s.signal(s.SIGUSR1, lambda *_: None); os.kill(os.getpid(), s.SIGUSR1)"


Problems = Mapping[str, str]
"""Why an action failed, by action; actions that succeeded are missing."""
_IN_CHILD = (Action.PROCESS, Action.SIGNAL)
_IN_FILE = (Action.LOOKUP, Action.ADD, Action.REMOVE, Action.FAULT, Action.DIRTY, Action.WRITEBACK, Action.REQUEST,
            Action.QUEUE)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Actions:
    """Performs them. ``proc`` and ``sys``: where the kernel's file systems are mounted."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    def do(self, wanted: Collection[str]) -> Problems:
        """Perform the wanted actions, and perhaps more. Never raises for what the machine does not allow."""
        problems: dict[str, str] = {}
        if set(_IN_CHILD) & set(wanted):
            problems |= dict.fromkeys(_IN_CHILD, _attempt(_child))
        if set(_IN_FILE) & set(wanted):
            problems |= self._file()
        return {action: why for action, why in problems.items() if why}

    def _file(self) -> dict[str, str]:
        folder = find_disk_folder(mounts_of(self.proc))
        if folder is None:
            return dict.fromkeys(_IN_FILE, "no folder on a disk is writable")
        try:
            disk = disk_of(folder.path, self.sys)
            before = disk and read_disk(disk, self.proc)
            why = _attempt(lambda: _one_page(folder.path))
            moved = disk is not None and read_disk(disk, self.proc) != before
        except OSError as error:
            return dict.fromkeys(_IN_FILE, str(error))
        at_disk = why or _unproved(folder.path, disk, moved=moved)
        unqueued = at_disk or _unqueued(disk)
        return {**dict.fromkeys(_IN_FILE, why), Action.REQUEST: at_disk, Action.QUEUE: unqueued}


def _unproved(folder: Path, disk: Path | None, *, moved: bool) -> str:
    """Why it is not certain that the page caused disk requests."""
    if disk is None:
        return f"{folder} is not directly on a disk (but on overlay, btrfs, LVM or similar)"
    return "" if moved else f"the disk of {folder} does not count requests"


def _unqueued(disk: Path | None) -> str:
    if disk is None or scheduler_of(disk) != "none":
        return ""
    return f"{disk.name} has no I/O scheduler"


def _attempt(action: Callable[[], None]) -> str:
    try:
        action()
    except OSError as error:
        return str(error)
    return ""


def _child() -> None:
    """Start a process that signals itself, and wait for it. Takes some milliseconds."""
    with start([str(_SHELL), "-c", _SCRIPT] if _SHELL.exists() else bare_python(_WITHOUT_SHELL)):
        pass  # waits for it


def _one_page(folder: Path) -> None:
    """Write a page, sync it, drop it, read it, send it to nowhere, drop it, touch it."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file, Path(os.devnull).open("wb") as nowhere:
        descriptor = file.fileno()
        os.pwrite(descriptor, bytes(mmap.PAGESIZE), 0)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(descriptor, 1, 0)
        os.sendfile(nowhere.fileno(), descriptor, 0, 1)  # some kernels look up its pages elsewhere
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ) as view:
            view[0]
