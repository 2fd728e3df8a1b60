# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys in files, which may be replaced while we run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.errors import SidecarError

from .settings import TlsSettings

Made = TypeVar("Made")
Versions = tuple[tuple[str, int, int] | None, ...]


@dataclass
class Reloaded(Generic[Made]):
    """Something that is made from the files of ``tls``, anew when they have changed.

    ``make`` may raise `OSError` or ValueError for files that are missing, half written or no certificates: then what
    was made last is used further, if there is something, and the files are tried again at the next check.
    """

    tls: TlsSettings
    make: Callable[[], Made]
    clock: Clock
    failed: Callable[[Exception], None]
    _made: Made | None = None
    _versions: Versions = ()
    _checked: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def first(self) -> None:
        """Make the first one. Raises `SidecarError` if the files cannot be used."""
        try:
            self.current()
        except (OSError, ValueError) as cause:
            name = getattr(cause, "filename", None)
            where = f' "{name}"' if name else ""
            reason = getattr(cause, "strerror", None) or str(cause)
            raise SidecarError(
                f"tls: a certificate or key{where} cannot be used: {reason}; correct the path or the file"
            ) from cause

    def current(self) -> Made:
        """The newest one. Raises what ``make`` raised if nothing could be made so far."""
        with self._lock:
            now = self.clock.monotonic()
            if self._made is not None and now - self._checked < self.tls.reload_interval:
                return self._made
            self._checked, versions = now, self._seen()
            if self._made is None or versions != self._versions:
                self._remake(versions)
            assert self._made is not None  # or it would have raised
            return self._made

    def last(self) -> Made | None:
        """What was made last, if anything was."""
        with self._lock:
            return self._made

    def _remake(self, versions: Versions) -> None:
        try:
            self._made, self._versions = self.make(), versions
        except (OSError, ValueError) as problem:
            if self._made is None:
                raise
            self.failed(problem)

    def _seen(self) -> Versions:
        return tuple(_version(path) for path in (self.tls.ca_file, self.tls.cert_file, self.tls.key_file) if path)


def _version(path: str) -> tuple[str, int, int] | None:
    """Changes with the file's content; symbolic links are followed, as Kubernetes replaces secrets by a new link."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return path, status.st_ino, status.st_mtime_ns
