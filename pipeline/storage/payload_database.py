# SPDX-License-Identifier: Apache-2.0
"""The payloads of one sender in a database file: a `PayloadStore`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.payload_store import Amount, DamageError, StorageError, Stored

from .database_file import PAGE, DamagedFileError, checksum, connect, is_whole, translated
from .salvage import set_file_aside

_ROW = "sequence, points, note, checksum, body"
_INSERT = f"INSERT OR REPLACE INTO payloads ({_ROW}, size) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 # only our own words
_KEPT_DAMAGED = 10
"""How many damaged payloads are kept for inspection."""
_FREE_PAGES, _STEP_PAGES = (16 << 20) // PAGE, (8 << 20) // PAGE
"""Free pages that an empty file may keep, and how many are given back at a time."""


@dataclass
class PayloadDatabase:
    """Payloads in ``path``, which never grows beyond ``max_size`` bytes.

    ``durable``: what was added survives a power cut, and not only the end of the process. ``notice`` is called with a
    message if the file is damaged when it is opened. Opening raises `StorageError`. A file that could not be replaced
    is opened again by whatever needs it next.
    """

    path: Path
    max_size: int
    durable: bool
    notice: Callable[[str], None]
    _open: sqlite3.Connection | None = None
    _closed: bool = False

    def __post_init__(self) -> None:
        try:
            self._open = connect(self.path, self.max_size)
        except DamagedFileError as damage:
            self.notice(self._start_anew(damage))

    def amount(self, after: int) -> Amount:
        """How much is stored beyond a sequence number."""
        sums = "count(*), total(CAST(points AS INTEGER)), total(CAST(size AS INTEGER))"
        [row] = self._rows(f"SELECT {sums} FROM payloads WHERE sequence > ?", after)  # noqa: S608 # as above
        return Amount(*map(int, row))

    def last(self) -> int:
        """The highest sequence number; 0 if nothing is stored."""
        [[highest]] = self._rows("SELECT coalesce(max(sequence), 0) FROM payloads")
        return int(highest)

    def oldest(self, after: int) -> Stored | None:
        """The first payload beyond a sequence number; a damaged one is set aside."""
        rows = self._rows(f"SELECT {_ROW} FROM payloads WHERE sequence > ? ORDER BY sequence LIMIT 1", after)  # noqa: S608 # as above
        for row in rows:
            if not is_whole(row):
                self._set_aside(row[0])
                raise DamageError(f"{self.path.name}: payload {row[0]} is damaged; kept in table damaged", row[0])
            sequence, points, note, _, body = row
            return Stored(sequence, Payload(body, points, json.loads(note)))
        return None

    def oldest_amount(self, after: int) -> tuple[int, Amount] | None:
        """The sequence number and the amount of the first payload beyond a sequence number."""
        columns = "sequence, CAST(points AS INTEGER), CAST(size AS INTEGER)"
        rows = self._rows(f"SELECT {columns} FROM payloads WHERE sequence > ? ORDER BY sequence LIMIT 1", after)  # noqa: S608 # as above
        return next(((sequence, Amount(1, points or 0, size or 0)) for sequence, points, size in rows), None)

    def contains(self, sequence: int) -> bool:
        """Whether that payload is stored."""
        return bool(self._rows("SELECT 1 FROM payloads WHERE sequence = ?", sequence))

    def add(self, payloads: Mapping[int, Payload], removed: Collection[int] = ()) -> None:
        """Store all payloads durably and forget those ``removed``, or do neither."""
        with self._transaction(durable=self.durable):
            self._delete(removed)
            self._db.executemany(_INSERT, (_row(*each) for each in payloads.items()))

    def replace(self, sequence: int, payload: Payload) -> None:
        """Store another payload in the place of one."""
        with self._transaction(durable=False):
            self._db.execute(_INSERT, _row(sequence, payload))

    def remove(self, sequences: Collection[int]) -> None:
        """Forget payloads; a file that is empty then becomes small, step by step."""
        with self._transaction(durable=False):
            self._delete(sequences)
        [[empty]] = self._rows("SELECT NOT EXISTS (SELECT 1 FROM payloads)")
        [[free]] = self._rows("PRAGMA freelist_count")
        if empty and free > _FREE_PAGES:
            with self._repaired(), translated(self.path):
                self._db.executescript(f"PRAGMA incremental_vacuum({_STEP_PAGES})")

    def close(self) -> None:
        """Close the file for good."""
        self._closed = True
        self._let_go()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageError(f"{self.path.name}: closed")
        if self._open is None:
            self._open = connect(self.path, self.max_size)
        return self._open

    def _let_go(self) -> None:
        was_open, self._open = self._open, None
        if was_open is not None:
            with suppress(sqlite3.Error):
                was_open.close()

    def _delete(self, sequences: Collection[int]) -> None:
        self._db.executemany("DELETE FROM payloads WHERE sequence = ?", ((each,) for each in sequences))

    def _rows(self, statement: str, *values: int) -> list[tuple[Any, ...]]:
        with self._repaired(), translated(self.path):
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self, *, durable: bool, repair: bool = True) -> Iterator[None]:
        """All or nothing. What need not be durable reaches the disk with the next durable transaction."""
        with self._repaired() if repair else nullcontext(), translated(self.path):
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _repaired(self) -> Iterator[None]:
        try:
            yield
        except DamagedFileError as damage:
            raise DamageError(self._start_anew(damage)) from damage

    def _set_aside(self, sequence: int) -> None:
        columns = f"{_ROW}, size"
        move = f"INSERT INTO damaged ({columns}) SELECT {columns} FROM payloads WHERE sequence = ?"  # noqa: S608 # as above
        with suppress(StorageError), self._transaction(durable=False):  # it is skipped, if it cannot be moved
            self._db.execute(move, (sequence,))
            self._delete([sequence])
            newest = "SELECT number FROM damaged ORDER BY number DESC LIMIT ?"
            self._db.execute(f"DELETE FROM damaged WHERE number NOT IN ({newest})", (_KEPT_DAMAGED,))  # noqa: S608 # as above

    def _start_anew(self, damage: DamagedFileError) -> str:
        """Put the file aside and go on with a new one that has all that is whole; returns what to report."""
        self._let_go()
        aside, rows = set_file_aside(self.path)
        try:
            with self._transaction(durable=self.durable, repair=False):
                self._db.executemany(_INSERT, rows)
        except DamagedFileError as again:
            self._let_go()
            raise StorageError(f"{self.path.name}: damaged again: {again}") from again
        return f'{self.path.name} is damaged ({damage}); it was kept as "{aside}"'


def _row(sequence: int, payload: Payload) -> tuple[Any, ...]:
    note = json.dumps(dict(payload.note)).encode()
    body = bytes(payload.body)
    return sequence, payload.points, note, checksum(sequence, payload.points, note, body), body, payload.size
