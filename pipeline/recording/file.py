# SPDX-License-Identifier: Apache-2.0
"""The format of recordings: the output of receivers, batch by batch, to be replayed on another machine.

A recording is JSON lines (UTF-8, one object a line) compressed with gzip. The first line is the header:

    {"format": "ebpf-sidecar recording", "version": 1, "product": "0.1.0", "kernel": "6.18.44", "machine": "x86_64",
     "recorded_at": "2026-01-01T12:00:00+00:00", "interval": 1.0, "resource": {"os.type": "linux"}}

``version`` changes when an older reader would misread the file; keys that a reader does not know are ignored.
``interval`` is the receivers' collection interval in seconds. Each further line is a batch, the frames that a receiver
passed on together:

    {"time": 1767268800000000000, "monotonic": 5723000000000,
     "rows": {"0": {"ids": [1, 2], "columns": {"device": {"words": ["sda", "sdb"], "codes": [0, 1]},
                                               "process.pid": {"type": "int64", "numbers": [23, 42]}}}},
     "frames": [{"name": "ebpf.block.io.errors", "kind": "counter", "rows": 0, "time": 1767268800000000000,
                 "start": 1767268700000000000, "unit": "{error}", "description": "…", "temporality": "cumulative",
                 "values": {"type": "uint64", "numbers": [5, 7]}, "scope": ["ebpf_sidecar", "0.1.0"]}]}

``monotonic``, if the receiver knows it, is the same time on that machine's monotonic clock, in nanoseconds; a replay
uses it for the intervals between batches, even if the wall clock was set in between.
``rows`` holds the row sets that the previous batch did not have; a frame refers to its row set by number, and a row set
that a batch does not refer to is forgotten. ``start`` is one number or one per row. Numbers that JSON lacks are written
as the strings ``nan``, ``inf`` and ``-inf``. Histograms also have ``sums``, one list per row in
``values``, and ``bounds`` or ``exponential`` (scale, offset and size of exponential buckets), and ``advised_bounds`` if
usually not all bounds are needed. A frame has a ``resource`` of its own if it
differs from the header's.

Every batch is flushed, so a truncated recording can be replayed up to its end.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
import sys
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.output import OutputError
from ebpf_sidecar.pipeline.rows import RowSet

from .frame_json import frame_from_json, frame_to_json, nanoseconds, row_set_from_json, row_set_to_json, texts

FORMAT = "ebpf-sidecar recording"
VERSION = 1
_MAX_LINE = 64 * 2**20
"""Characters: a batch of 100,000 rows with three histograms has half of it."""
_MAX_LISTS = 2**20
"""Per line: each takes 20 times the memory of its two characters, and each row of a histogram is a list."""
_MAX_INTERVAL = 86400.0
_READABLE = (
    "make it readable for the user that runs this; root with dropped privileges reads other users' files only with "
    "DAC_READ_SEARCH in service::privileges::keep"
)
_UNREADABLE = (
    EOFError,
    OSError,
    zlib.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""Exceptions that damaged files can cause: FrameError, JSONDecodeError and UnicodeDecodeError are ValueErrors."""


@dataclass(frozen=True, slots=True)
class Header:
    """Where and when a recording was made; ``interval`` in seconds."""

    product: str
    kernel: str
    machine: str
    recorded_at: str
    interval: float
    resource: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that were passed on together, and when: ns since the epoch, and on the monotonic clock, if known."""

    time_unix_nano: int
    frames: Frames
    monotonic_nano: int | None = None

    def seconds_since(self, earlier: Batch) -> float:
        """The time between two batches, even if the wall clock was set in between."""
        if self.monotonic_nano is not None and earlier.monotonic_nano is not None:
            return (self.monotonic_nano - earlier.monotonic_nano) / 1e9
        return (self.time_unix_nano - earlier.time_unix_nano) / 1e9


class RecordingWriter:
    """Writes a recording; to standard output without a ``path``. Raises `SidecarError` if it cannot be written."""

    def __init__(self, path: Path | None, header: Header) -> None:
        self._path = path
        self._name = f'"{path}"' if path else "to standard output"
        self._resource = header.resource
        self._numbers: dict[RowSet, int] = {}
        self._next = 0
        try:
            # without time and name, so that the same data gives the same file
            self._plain = path.open("wb") if path else _standard_output()
            self._file = gzip.GzipFile("", "wb", 9, self._plain, mtime=0)
        except OSError as problem:
            raise self._unwritable(problem) from problem
        try:
            self._line({"format": FORMAT, "version": VERSION, **asdict(header)})
        except SidecarError:
            with suppress(SidecarError):  # the same problem as the one being raised
                self.close()
            raise

    def write(self, frames: Frames) -> None:
        """Add a batch. Raises `SidecarError` if the disk is full; ValueError, with nothing written, for values that are
        not numbers and for a batch that is larger than a reader accepts."""
        if not frames:
            return
        used = {frame.rows: self._numbers.get(frame.rows, -1) for frame in frames}
        new = [rows for rows, number in used.items() if number < 0]
        used |= {rows: self._next + place for place, rows in enumerate(new)}
        batch = {
            "time": max(int(frame.time_unix_nano) for frame in frames),
            "rows": {str(used[rows]): row_set_to_json(rows) for rows in new},
            "frames": [frame_to_json(frame, used[frame.rows], self._resource) for frame in frames],
        }
        if moments := [frame.monotonic_nano for frame in frames if frame.monotonic_nano is not None]:
            batch["monotonic"] = max(moments)
        self._line(batch)
        self._numbers, self._next = used, self._next + len(new)

    def close(self) -> None:
        """Complete the file; safe to call twice. Raises `SidecarError` if the disk is full."""
        if self._plain.closed:
            return
        try:
            with self._plain:
                self._file.close()
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _line(self, value: Mapping[str, Any]) -> None:
        line = json.dumps(value, separators=(",", ":"), allow_nan=False)
        if len(line) >= _MAX_LINE:
            raise ValueError(f"a batch takes {len(line) >> 20} MiB, more than a reader accepts; record fewer rows")
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _unwritable(self, problem: OSError) -> SidecarError:
        if self._path is None and isinstance(problem, BrokenPipeError):  # closed by its reader
            return OutputError(problem)
        return SidecarError(f"recording {self._name}: cannot be written: {problem.strerror}; choose another file")


def _standard_output() -> BinaryIO:
    """A duplicate, so that Python can still close the one that it opened."""
    file: BinaryIO = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    return file


class Recording:
    """A recording to read. Raises `SidecarError` if the file cannot be read, is not a recording, is newer, or is empty.

    ``started``: when the first batch was recorded, ns since the epoch.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = self._header()
        reasons: list[str] = []
        with closing(self.batches(reasons.append)) as batches:
            first = next(batches, None)
        if first is None:
            raise SidecarError(
                reasons[0] if reasons else self._message("holds no data; record for longer than an interval")
            )
        self.started = first.time_unix_nano

    def batches(self, damaged: Callable[[str], None]) -> Generator[Batch, None, None]:
        """All batches from the first on, read lazily.

        ``damaged`` is called with the reason if the file ends early; the batches before are valid.
        """
        known: dict[str, RowSet] = {}
        try:
            with closing(self._lines()) as lines:
                next(lines)
                for line in lines:
                    batch, known = self._batch(_parsed(line), known)
                    yield batch
        except _UNREADABLE as problem:
            reason = f"{type(problem).__name__}: {problem}"
            damaged(self._message(f"damaged or truncated; earlier batches are valid, record again for more ({reason})"))

    def _batch(self, value: Mapping[str, Any], known: Mapping[str, RowSet]) -> tuple[Batch, dict[str, RowSet]]:
        rows = {**known, **{number: row_set_from_json(each) for number, each in value["rows"].items()}}
        numbers = [str(each["rows"]) for each in value["frames"]]
        resource = self.header.resource
        frames = [frame_from_json(e, rows[n], resource) for e, n in zip(value["frames"], numbers, strict=True)]
        moment = nanoseconds(value["monotonic"]) if "monotonic" in value else None
        return Batch(nanoseconds(value["time"]), tuple(frames), moment), {number: rows[number] for number in numbers}

    def _lines(self) -> Generator[str, None, None]:
        if not stat.S_ISREG(self._path.stat().st_mode):
            # it is read from the start several times, and a pipe without a writer would block for ever
            raise SidecarError(self._message("is not a regular file; copy its content to one"))
        with gzip.open(self._path, "rt", encoding="utf-8") as file:
            while line := file.readline(_MAX_LINE):
                if not line.endswith("\n"):
                    raise EOFError("a line has no end")
                yield line

    def _header(self) -> Header:
        try:
            with closing(self._lines()) as lines:
                value = _parsed(next(lines, ""))
            if value["format"] != FORMAT:
                raise ValueError(f'format "{value["format"]}"')
            version = value["version"]
            if version != VERSION:
                newer = f"has format version {version}, and this program reads {VERSION}; use a matching ebpf-sidecar"
                raise SidecarError(self._message(newer))
            return _checked(Header(**{each.name: value[each.name] for each in fields(Header)}))
        except (FileNotFoundError, PermissionError, IsADirectoryError) as problem:
            repair = _READABLE if isinstance(problem, PermissionError) else "give the path of a recording"
            raise SidecarError(self._message(f"cannot be read: {problem.strerror}; {repair}")) from problem
        except _UNREADABLE as problem:
            raise SidecarError(self._message('is not a recording; make one with "ebpf-sidecar record"')) from problem

    def _message(self, what: str) -> str:
        return f'recording "{self._path}": {what}'


def _parsed(line: str) -> Any:
    """The line's JSON value. Raises ValueError, or RecursionError if it is nested too deeply."""
    if line.count("[") + line.count("{") > _MAX_LISTS:
        raise ValueError(f"a line has more than {_MAX_LISTS} lists")
    return json.loads(line)


def _checked(header: Header) -> Header:
    """The header, if all its parts are valid. Raises ValueError or TypeError."""
    for part in (header.product, header.kernel, header.machine, header.recorded_at):
        if not isinstance(part, str):
            raise TypeError("header")
    if isinstance(header.interval, bool) or not 0 < header.interval <= _MAX_INTERVAL:
        raise ValueError("interval")
    texts(header.resource)
    return header
