# SPDX-License-Identifier: Apache-2.0
"""Extension ``file_storage``: keeps the queues of senders on disk, so that what waits survives the end of the process.

A sender uses it with ``sending_queue::storage``. Each has a SQLite file of its own in the directory. After a crash or
``kill -9`` the next process delivers what was stored; at most one payload for each consumer is delivered twice. While
the disk is full or cannot be written, up to 16 MiB for each sender wait in memory.

    extensions:
      file_storage: {directory: /var/lib/ebpf-sidecar, create_directory: true}
    exporters:
      otlp: {endpoint: "gateway:4317", sending_queue: {storage: file_storage, queue_size: 256MiB}}
    service: {extensions: [file_storage], …}

To wait out a back end that is down for longer than five minutes, set ``retry_on_failure::max_elapsed_time: 0s`` too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import quote

from pydantic import Field, model_validator

from ebpf_sidecar.pipeline.checks import Check, Examination
from ebpf_sidecar.pipeline.component import ComponentKind, Factory, OwnFolder, Stability
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.metric_info import gauge
from ebpf_sidecar.pipeline.payload_store import PayloadStore
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.settings import Bytes, Interval, PlacedError, Settings
from ebpf_sidecar.pipeline.storage.folder import StorageFolder, folder_problem
from ebpf_sidecar.pipeline.storage.folder_check import examined
from ebpf_sidecar.pipeline.storage.payload_database import PayloadDatabase

SIZE = gauge("ebpf_sidecar.storage.size", "By", "Size of all files in the directory of a file_storage", "component")


class FileStorageSettings(Settings):
    """Where queues are kept, with the OpenTelemetry Collector's names."""

    directory: Path = Path("/var/lib/ebpf-sidecar/file_storage")
    """The directory, which belongs to one process at a time."""
    create_directory: bool = False
    """Create the directory, and those above it, if it does not exist."""
    directory_permissions: str = Field(default="0750", pattern="^0?[0-7]{3}$")
    """The permissions of directories that are created, as octal digits; the umask is subtracted."""
    timeout: Interval = 1.0
    """How long to wait for another process to release the directory before the start fails."""
    fsync: bool = True
    """Write each batch through to the disk. Otherwise a power cut can lose the newest batches; `kill -9` cannot."""
    max_size: Bytes = Field(default=1 << 30, ge=1 << 20)
    """The size beyond which no sender's file grows, whatever `queue_size` allows. The write-ahead log beside it takes
    8MiB more, or as much as the largest batch."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if problem := folder_problem(self.directory, create=self.create_directory):
            raise PlacedError([(("directory",), problem)])
        return self


class FileStorage:
    """A folder with a database for each sender: a `Storage`."""

    def __init__(self, settings: FileStorageSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._folder = StorageFolder(
            settings.directory, create=settings.create_directory, mode=int(settings.directory_permissions, 8)
        )

    def start(self) -> None:
        """Take possession of the directory. Raises `SidecarError` if another process has it or it cannot be used."""
        self._folder.claim(self._context.clock, self._settings.timeout)
        self._context.telemetry.observe(*SIZE.instrument, self._folder.size)

    def open_store(self, name: str) -> PayloadStore:
        """The payloads of the sender with that id. Raises `StorageError`, also for a new file on a full disk."""
        file = self._settings.directory / f"exporter_{quote(name, safe='')}.sqlite3"
        notice = partial(self._context.telemetry.error, "opening")
        store = PayloadDatabase(file, self._settings.max_size, self._settings.fsync, notice)
        if waiting := store.amount(after=0).points:
            self._context.logger.info("%d data points for %s wait since an earlier run", waiting, name)
        return store

    def shutdown(self) -> None:
        """Release the directory; queues have closed their files by now."""
        self._folder.release()


@hookimpl
def register_components() -> Sequence[Factory]:
    """The extension ``file_storage``."""
    return [
        Factory.extension(
            "file_storage",
            FileStorage,
            FileStorageSettings,
            stability=Stability.BETA,
            description="keeps the queues of senders on disk",
            metrics=lambda _: (SIZE,),
            claims=lambda settings: [OwnFolder(settings.directory)],
        )
    ]


@hookimpl
def register_checks() -> Sequence[Check]:
    """Whether the service may write there."""
    return [Check(ComponentKind.EXTENSION, "file_storage", _examine)]


def _examine(settings: FileStorageSettings) -> Examination:
    return Examination((examined(settings.directory),))
