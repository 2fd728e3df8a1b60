# SPDX-License-Identifier: Apache-2.0
"""A SQLite file with payloads: how it is opened, and what its errors mean.

Write-ahead logging, so that a transaction is complete or absent after a crash. No shared memory is used, and no other
process can open the file meanwhile.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.payload_store import FAILED, FULL, StorageError

FORMAT = 1
"""Increased when a later version reads and writes other tables."""
PAGE = 32 << 10
"""Large payloads cost half of what they would with SQLite's 4 KiB (`bench/disk_queue.py`)."""
_LOG_SIZE = 8 << 20
"""The size at which the write-ahead log is copied into the file, and to which it shrinks after a large batch."""
SUFFIXES = ("", "-wal")
_COLUMNS = "points INTEGER, size INTEGER, note BLOB, checksum INTEGER, body BLOB"
_TABLES = (
    f"CREATE TABLE IF NOT EXISTS payloads (sequence INTEGER PRIMARY KEY, {_COLUMNS})",
    f"CREATE TABLE IF NOT EXISTS damaged (number INTEGER PRIMARY KEY, sequence INTEGER, {_COLUMNS})",
)
_PRAGMAS = (
    "journal_mode = WAL",
    f"wal_autocheckpoint = {_LOG_SIZE // PAGE}",
    f"journal_size_limit = {_LOG_SIZE}",
    "temp_store = MEMORY",
    "trusted_schema = OFF",
)
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class DamagedFileError(Exception):
    """SQLite cannot make sense of the file."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise `StorageError` and `DamagedFileError` instead of SQLite's and the system's errors."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGED:
            raise DamagedFileError(str(error)) from error
        raise StorageError(f"{path.name}: {error}", FULL if code == sqlite3.SQLITE_FULL else FAILED) from error
    except OSError as error:
        raise StorageError(f"{path.name}: {error.strerror}") from error


def connect(path: Path, max_size: int) -> sqlite3.Connection:
    """Open or create the file, which never grows beyond ``max_size`` bytes. Raises as `translated` says."""
    with translated(path):
        path.touch(0o600)  # SQLite's other files get the same mode
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # first: without it, reading makes a file
            if not _number(connection, "page_count"):  # later it would write, which a full disk refuses
                connection.execute(f"PRAGMA page_size = {PAGE}")
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            _prepare(connection, path, max_size)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, max_size: int) -> None:
    version = _number(connection, "user_version")
    if version > FORMAT:
        raise StorageError(f'"{path}" was written by a later version; use that one, or move the file away')
    for table in _TABLES:
        connection.execute(table)
    if version < FORMAT:
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute(f"PRAGMA max_page_count = {max_size // _number(connection, 'page_size')}")
    [found, *_] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedFileError(found)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def checksum(sequence: int, points: int, note: bytes, body: bytes) -> int:
    """Of all that a row says, its place included."""
    return zlib.crc32(body, zlib.crc32(note, zlib.crc32(b"%d %d" % (sequence, points))))


def is_whole(row: tuple[Any, ...]) -> bool:
    """Whether a row ``(sequence, points, note, checksum, body)`` is as it was written."""
    sequence, points, note, expected, body = row
    types = isinstance(points, int) and isinstance(note, bytes) and isinstance(body, bytes)
    return types and checksum(sequence, points, note, body) == expected
