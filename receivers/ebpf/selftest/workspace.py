# SPDX-License-Identifier: Apache-2.0
"""The temporary folder of a run, the files in it, and what its disk supports."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.host import Paths
from ebpf_sidecar.receivers.ebpf.kernel.disk_folder import find_any_folder, find_disk_folder, mounts_of
from ebpf_sidecar.receivers.ebpf.kernel.diskstats import disk_of, scheduler_of

from .guard import guarded
from .worker import WorkloadError

MIB = 1 << 20
_LARGEST, _SMALLEST, _QUICK = 64 * MIB, 4 * MIB, 4 * MIB
_PACE = 1.0
"""If writing the smallest file takes this many seconds, the file stays that small; twice as fast, twice as large."""
_LEFT = 4
"""The folder must have room for this many times the file."""
_ROOM = _LEFT * _SMALLEST


@dataclass(frozen=True, slots=True)
class Workspace:
    """``problem``: why disk workloads are meaningless here, or empty. ``lacks``: why a need of a case is not met."""

    folder: Path
    file_system: str
    size: int
    problem: str
    lacks: dict[str, str]

    @property
    def data(self) -> Path:
        """The file that workloads share."""
        return self.folder / "data"

    def fill(self, path: Path) -> None:
        """Write random bytes to ``path`` and sync them. Raises `WorkloadError` if there is no room."""
        try:
            with path.open("wb") as file:
                for _ in range(self.size // MIB):
                    file.write(os.urandom(MIB))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise WorkloadError(str(_unusable(self.folder.parent, error))) from error


def forget(path: Path) -> None:
    """Write a file to disk and drop it from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


@contextmanager
def temporary_workspace(chosen: Path | None, paths: Paths, *, quick: bool) -> Iterator[Workspace]:
    """A folder below ``chosen``, or below the first that is on a disk; removed afterwards, even if this process is
    killed. Raises `ProbeError`."""
    disk = find_disk_folder(mounts_of(paths.proc), [chosen] if chosen else None)
    above = chosen or (disk.path if disk else find_any_folder())
    if above is None:
        raise ProbeError("no folder is writable; mount a tmpfs at /tmp, or name a folder with --folder")
    try:
        folder = Path(tempfile.mkdtemp(prefix="ebpf-sidecar-selftest-", dir=above.absolute()))
    except OSError as error:
        raise _unusable(above, error) from error
    try:
        with guarded(folder):
            problem = "" if disk else f"{above} is not on a disk; name one that is with --folder"
            size = _QUICK if quick else _size(folder, paths)
            yield Workspace(folder, disk.file_system if disk else "", size, problem, _lacks(folder, paths.sys))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unusable(folder: Path, error: OSError) -> ProbeError:
    reported = (error.strerror or str(error)).lower()
    return ProbeError(f'folder "{folder}": {reported}; name another with --folder, with {_ROOM >> 20} MiB to spare')


def _size(folder: Path, paths: Paths) -> int:
    """Bytes of the data file: a power of two, depending on the machine's speed, disk space and memory."""
    started = time.monotonic()
    path = folder / "pace"
    try:
        path.write_bytes(os.urandom(_SMALLEST))
        forget(path)
        path.unlink()
    except OSError as error:
        raise _unusable(folder.parent, error) from error
    fitting = _SMALLEST * _PACE / max(time.monotonic() - started, 1e-6)
    room = shutil.disk_usage(folder).free / _LEFT
    most = min(_LARGEST, fitting, room, memory(paths) / _LEFT)
    return _SMALLEST << max(0, int(most / _SMALLEST).bit_length() - 1)


def memory(paths: Paths) -> int:
    """Bytes that can be cached before the kernel starts to drop pages: of the machine, or of our own container."""
    limits = [paths.cgroup / "memory.max", paths.cgroup / "memory" / "memory.limit_in_bytes"]
    texts = [path.read_text(encoding="ascii").strip() for path in limits if path.exists()]
    meminfo = (paths.proc / "meminfo").read_text(encoding="ascii").splitlines()
    [available] = [int(line.split()[1]) << 10 for line in meminfo if line.startswith("MemAvailable:")]
    return min([available, *(int(text) for text in texts if text.isdigit())])


def _lacks(folder: Path, sys: Path) -> dict[str, str]:
    disk = disk_of(folder, sys)
    if disk is None:
        why = (
            "the folder is not directly on a disk (but on overlay, btrfs, LVM or similar), so kernel threads may submit"
        )
        return {"own_requests": why, "scheduler": why}
    if scheduler_of(disk) == "none":
        return {"scheduler": f"{disk.name} has no I/O scheduler, so requests do not queue"}
    return {}
