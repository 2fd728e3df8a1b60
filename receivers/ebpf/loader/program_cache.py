# SPDX-License-Identifier: Apache-2.0
"""Caches compiled programs, so that the next start on the same kernel needs no compiler.

Root loads what is cached here into the kernel, so the folder and its files must be our own and not writable by others.
A damaged file is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .bytecode import Bytecode

MAX_FILES = 128
"""How many files are kept, of up to 0.2 MB at present; the least recently used is removed first."""
_MAX_BYTES = 4 << 20
_FORM = "1"
"""Increased when the file format changes."""
DEFAULT_FOLDER = "/var/cache/ebpf-sidecar"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def default_folder(environ: Mapping[str, str]) -> str:
    """Return systemd's folder (``CacheDirectory=`` of the unit), or the usual one on the system."""
    return environ.get("CACHE_DIRECTORY", "").partition(":")[0] or DEFAULT_FOLDER


def key_of(parts: Iterable[str]) -> str:
    """The cache key of ``parts``: everything that affects the compiler's output."""
    digest = hashlib.sha256()
    for part in (_FORM, *parts):
        encoded = part.encode(errors="surrogateescape")
        digest.update(b"%d:%s" % (len(encoded), encoded))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ProgramCache:
    """Files in ``folder``, which is created when there is something to cache."""

    folder: Path

    def find(self, key: str) -> Bytecode | None:
        """The cached program of this key, unless it is damaged or another user could have written it."""
        try:
            content = self._read(key)
            digest, _, body = content.partition(b"\n")
            if digest.decode() != hashlib.sha256(body).hexdigest():
                return None
            return Bytecode.from_json(json.loads(body))
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def keep(self, key: str, bytecode: Bytecode) -> None:
        """Cache it if possible: on a read-only disk, every start compiles."""
        body = json.dumps(bytecode.to_json()).encode()
        content = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_ours(self.folder.lstat(), stat.S_ISDIR):
                self._write(key, content)
                self._forget_oldest()

    def _read(self, key: str) -> bytes:
        if not _is_ours(self.folder.lstat(), stat.S_ISDIR):
            return b""
        descriptor = os.open(self.folder / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not _is_ours(os.fstat(descriptor), stat.S_ISREG):
                return b""
            with suppress(OSError):
                os.utime(descriptor)
            return file.read(_MAX_BYTES)

    def _write(self, key: str, content: bytes) -> None:
        """Write atomically: two services may start at the same time, and the machine may stop in the middle."""
        # not our process id: in a container it is always the same, and a writer that was killed leaves its file
        passing = self.folder / f"{key}.{secrets.token_hex(8)}"
        descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            passing.replace(self.folder / key)
        except OSError:
            passing.unlink(missing_ok=True)
            raise

    def _forget_oldest(self) -> None:
        files = sorted(self.folder.iterdir(), key=lambda file: file.lstat().st_mtime, reverse=True)
        for file in files[MAX_FILES:]:
            file.unlink(missing_ok=True)


def _is_ours(found: os.stat_result, kind: Callable[[int], bool]) -> bool:
    return kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _OTHERS
