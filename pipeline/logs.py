# SPDX-License-Identifier: Apache-2.0
"""Logging to stderr: the component first, then what happened; text for people or JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
_PLAIN = "\x1b[0m"


class ConsoleFormatter(logging.Formatter):
    """``2026-11-23T04:05:06.789Z info  exporter prometheus: listening …``."""

    def __init__(self, *, coloured: bool = False) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback where there is one."""
        line = f"{_timestamp(record)} {_level(record):<5} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        colour = _COLOURS.get(record.levelno, "") if self._coloured else ""
        return f"{colour}{line}{_PLAIN}" if colour else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry = {"ts": _timestamp(record), "level": _level(record), "msg": record.getMessage()}
        if record.exc_info:
            entry["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _level(record: logging.LogRecord) -> str:
    """In the words of the setting: a key of `LEVELS`, or what Python has beside them."""
    return record.levelname.lower().replace("warning", "warn")


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure(level: str, encoding: str, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (stderr) from now on; ``level`` is a key of `LEVELS`, ``encoding`` console or json.

    A service whose stderr was closed before it started (``2>&-``) works, and logs nowhere.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream) if stream else logging.NullHandler()
    coloured = stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(JsonFormatter() if encoding == "json" else ConsoleFormatter(coloured=coloured))
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)
