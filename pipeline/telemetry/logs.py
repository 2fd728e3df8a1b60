# SPDX-License-Identifier: Apache-2.0
"""Logging to stderr: component first, then the message; as text for people or JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from collections.abc import Collection
from typing import TextIO

import click

from ebpf_sidecar.pipeline.clock import utc
from ebpf_sidecar.pipeline.secrets_in_text import redacted
from ebpf_sidecar.pipeline.terminal import wants_colours

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_COLOURS = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream, but waits only briefly if its reader does not read: logging never blocks a thread for long.

    Lines that do not fit are counted, and the next line that fits is preceded by their number.
    """

    def __init__(self, stream: TextIO, patience: float = 0.1) -> None:
        super().__init__(stream)
        self._patience = patience
        self._lost = 0
        self._cut = ""
        """What must be written first after a truncated line."""
        try:
            self._descriptor = stream.fileno()
        except OSError:  # in memory, where nothing can block
            self.emit = super().emit  # type: ignore[method-assign] # decided once for all lines
        else:
            self._room = select.poll()
            self._room.register(self._descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it."""
        try:
            line = self.format(record) + self.terminator
        except Exception:  # noqa: BLE001 # as in logging itself: a message that cannot be formatted is not fatal
            self.handleError(record)
            return
        missing = f"log: lines missing here, because the reader was too slow: {self._lost}" if self._lost else ""
        missing += self.terminator if missing else ""
        text = f"{self._cut}{missing}{line}".encode(errors="backslashreplace")
        written = self._write(text)
        self._cut = self.terminator if 0 < written < len(text) else self._cut if written == 0 else ""
        self._lost = 0 if written == len(text) else self._lost + 1

    def _write(self, text: bytes) -> int:
        """The number of bytes written. A pipe with room accepts `PIPE_BUF` bytes without blocking."""
        for start in range(0, len(text), select.PIPE_BUF):
            if not self._room.poll(0 if self._lost else 1000 * self._patience):
                return start
            piece = text[start : start + select.PIPE_BUF]
            try:
                written = os.write(self._descriptor, piece)
            except OSError:  # its reader is gone, or the disk is full
                return start
            if written < len(piece):  # the disk is full now, or it is a socket
                return start + written
        return len(text)


class ConsoleFormatter(logging.Formatter):
    """``2026-11-23T04:05:06.789Z info  exporter prometheus: listening …``."""

    def __init__(self, *, coloured: bool = False, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._coloured, self._secrets = coloured, secrets

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback if there is one."""
        line = f"{utc(record.created)} {_level(record):<5} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        line = redacted(line, self._secrets)
        colour = _COLOURS.get(record.levelno) if self._coloured else None
        return click.style(line, fg=colour) if colour else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def __init__(self, *, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        text = redacted(record.getMessage(), self._secrets)
        entry = {"ts": utc(record.created), "level": _level(record), "msg": text}
        if record.exc_info:
            entry["stacktrace"] = redacted(self.formatException(record.exc_info), self._secrets)
        return json.dumps(entry, ensure_ascii=False)


def _level(record: logging.LogRecord) -> str:
    """The level's name as in the settings: a key of `LEVELS`, or Python's name for other levels."""
    return record.levelname.lower().replace("warning", "warn")


def configure(level: str, encoding: str, stream: TextIO | None = None, secrets: Collection[str] = ()) -> None:
    """Log to ``stream`` (stderr) from now on; ``level`` is a key of `LEVELS`, ``encoding`` console or json.

    Text that looks like a secret is redacted, and so are the texts in ``secrets``.
    A service whose stderr was closed before it started (``2>&-``) works, but does not log.
    """
    stream = stream or sys.stderr
    handler = BoundedHandler(stream) if stream else logging.NullHandler()
    console = ConsoleFormatter(coloured=wants_colours(stream), secrets=secrets)
    handler.setFormatter(JsonFormatter(secrets=secrets) if encoding == "json" else console)
    root = logging.getLogger()
    root.handlers = [handler]  # at once: while it is exchanged, another thread's line has one or the other
    root.setLevel(LEVELS[level])
