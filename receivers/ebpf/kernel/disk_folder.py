# SPDX-License-Identifier: Apache-2.0
"""Finds a folder for temporary files on a disk: tmpfs has no page cache reads and sends nothing to a device."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_NO_DISK = ("tmpfs", "ramfs", "devtmpfs", "proc", "sysfs", "rootfs", "squashfs", "zfs", "9p", "virtiofs", "nfs", "cifs")
"""File systems whose pages are not backed by a disk, or that have their own cache (zfs); matched by prefix."""
_CANDIDATES = ("/tmp", "/var/tmp", "/var/lib", "/var/log", ".")  # noqa: S108 # only tested; files get unique names
_OCTAL = re.compile(r"\\([0-7]{3})")
_IN_MEMORY = ("/dev/shm", "/run")  # noqa: S108 # see above; containers have them even if everything else is read-only


@dataclass(frozen=True, slots=True)
class DiskFolder:
    """A folder that can be written to, and the type of its file system (``ext4``)."""

    path: Path
    file_system: str


def mounts_of(proc: Path) -> str:
    """The text of our own mountinfo; names in it may not be UTF-8. Raises `OSError`."""
    return (proc / "self" / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")


def find_disk_folder(mounts: str, candidates: Iterable[Path] | None = None) -> DiskFolder | None:
    """The first of ``candidates`` that is writable and on a disk. ``mounts``: the text of /proc/self/mountinfo."""
    types = _types(mounts)
    for path in _writable(_candidates() if candidates is None else candidates):
        file_system = file_system_of(path, types)
        if not file_system.startswith((*_NO_DISK, "fuse")):
            return DiskFolder(path, file_system)
    return None


def find_any_folder() -> Path | None:
    """A folder for temporary files that need not be on a disk; None if nothing is writable."""
    return next(_writable([*_candidates(), *map(Path, _IN_MEMORY)]), None)


def file_system_of(path: Path, types: Mapping[str, str]) -> str:
    """The type of the file system that holds ``path``, by the longest mount point above it."""
    resolved = path.resolve()
    for folder in (resolved, *resolved.parents):
        if str(folder) in types:
            return types[str(folder)]
    return ""


def _candidates() -> Sequence[Path]:
    """Without ``tempfile`` and ``Path.home``, which raise if there is none."""
    chosen, home = (os.environ.get(name) for name in ("TMPDIR", "HOME"))
    return [Path(each) for each in (chosen, *_CANDIDATES, home) if each]


def _writable(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.is_dir() and os.access(path, os.W_OK | os.X_OK))


def _types(mounts: str) -> Mapping[str, str]:
    """By mount point; a later mount at the same point wins."""
    types = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), before.split()[4])  # a blank is written \040
        types[point] = after.split()[0]
    return types
