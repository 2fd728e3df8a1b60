# SPDX-License-Identifier: Apache-2.0
"""A folder that belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_sidecar.pipeline.clock import Clock, Deadline
from ebpf_sidecar.pipeline.errors import SidecarError

_LOCK = "lock"
_AGAIN_SECONDS = 0.05


def folder_problem(path: Path, *, create: bool) -> str:
    """Why nobody could use a folder, with what to do; empty if somebody could. Changes nothing.

    Permissions are not looked at: another user may run the service than the one who checks its configuration.
    """
    try:
        return _problem(path.absolute(), create=create)
    except OSError as error:
        return _refused(path, error)


def _problem(path: Path, *, create: bool) -> str:
    if not path.exists() and not create:
        return f'"{path}" does not exist; create it, or set create_directory: true'
    existing = next(each for each in (path, *path.parents) if each.exists())
    if not existing.is_dir():
        return f'"{existing}" is not a directory; choose another one'
    if os.statvfs(existing).f_flag & os.ST_RDONLY:
        return f'"{path}" is on a read-only file system; choose another directory'
    return ""


def _refused(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f'"{path}" cannot be written by user {os.geteuid()}; change its owner, or choose another directory'
    return f'"{path}" cannot be used ({error.strerror}); choose another directory'


@dataclass
class StorageFolder:
    """A folder, and the lock in it."""

    path: Path
    create: bool
    mode: int
    _lock: int | None = None
    _never: threading.Event = field(default_factory=threading.Event)

    def claim(self, clock: Clock, seconds: float) -> None:
        """Take possession of the folder, or wait for up to ``seconds``. Raises `SidecarError`."""
        try:
            if self.create:
                self.path.mkdir(self.mode, parents=True, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            why = folder_problem(self.path, create=self.create) or _refused(self.path, error)
            raise SidecarError(why) from error
        try:
            self._wait(lock, Deadline.after(seconds, clock))
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        with suppress(OSError):  # on a full disk the folder is ours all the same
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give the folder back; safe to call twice and without `claim`."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def size(self) -> int:
        """Bytes of all its files."""
        with suppress(OSError), os.scandir(self.path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
        return 0

    def _wait(self, lock: int, deadline: Deadline) -> None:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not deadline.left():
                    raise SidecarError(self._taken(lock)) from None
            else:
                return
            deadline.clock.wait(self._never, _AGAIN_SECONDS)

    def _taken(self, lock: int) -> str:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        if holder == str(os.getpid()):
            return f'"{self.path}" is in use by another file_storage of this service; give each a directory of its own'
        by = f"process {holder}" if holder else "another process"
        return f'"{self.path}" is in use by {by}; stop that process, or choose another directory'
