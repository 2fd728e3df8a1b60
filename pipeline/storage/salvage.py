# SPDX-License-Identifier: Apache-2.0
"""Damaged database files: kept under another name, and read as far as they can be."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from .database_file import SUFFIXES, is_whole, translated

_KEPT = 3
"""How many damaged files of one sender are kept for inspection."""


def set_file_aside(path: Path) -> tuple[str, Iterator[tuple[Any, ...]]]:
    """Rename a database; returns its new name, and all whole rows ``(sequence, points, note, checksum, body, size)``.

    Raises `StorageError`.
    """
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}-{time.monotonic_ns() % 10**9:09}")
    with translated(path):
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        _remove_oldest(path)
    return aside.name, _whole_rows(aside)


def _remove_oldest(path: Path) -> None:
    kept = sorted(each for each in path.parent.glob(f"{path.name}.corrupt-*") if not each.name.endswith("-wal"))
    for each in kept[:-_KEPT]:
        for suffix in SUFFIXES:
            each.with_name(each.name + suffix).unlink(missing_ok=True)


def _whole_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """From both ends up to where the file is damaged, each row once."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=0)) as damaged:
        damaged.execute("PRAGMA locking_mode = EXCLUSIVE")
        damaged.execute("PRAGMA writable_schema = ON")  # or a file that was cut off is not read at all
        first = yield from _rows(damaged, "ASC", 0)
        yield from _rows(damaged, "DESC", first)


def _rows(damaged: sqlite3.Connection, order: str, beyond: int) -> Generator[tuple[Any, ...], None, int]:
    """Whole rows until one cannot be read; returns the sequence number of the last."""
    columns = "sequence, points, note, checksum, body, size"
    with suppress(sqlite3.Error):
        statement = f"SELECT {columns} FROM payloads WHERE sequence > ? ORDER BY sequence {order}"  # noqa: S608 # our words
        for row in damaged.execute(statement, (beyond,)):
            beyond = row[0] if order == "ASC" else beyond
            if is_whole(row[:5]):
                yield row
    return beyond
