# SPDX-License-Identifier: Apache-2.0
"""Standard output that can fail: the disk is full, or the reader has closed the pipe."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from .errors import SidecarError

OUTPUT_CLOSED = 128 + signal.SIGPIPE
"""The exit code of a program whose output was closed by its reader."""


class OutputError(SidecarError):
    """Standard output could not be written. ``closed``: the reader has closed it.

    Not an `OSError`: click would exit on one, with an exit code of its own.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"standard output cannot be written: {cause.strerror}")
        self.closed = isinstance(cause, BrokenPipeError)


class _Output:
    """A text stream that raises `OutputError` on failure; otherwise like the stream that it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Raises `OutputError`."""
        with _named():
            return self._stream.write(text)

    def flush(self) -> None:
        """Raises `OutputError`."""
        with _named():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(error) from error


def name_output_errors() -> None:
    """From now on, failures of standard output can be distinguished from those of other files."""
    if sys.stdout is not None:
        sys.stdout = cast("TextIO", _Output(sys.stdout))


def standard_output() -> TextIO:
    """Standard output as Python opened it; the caller handles failures. Raises ValueError if it is closed."""
    found = sys.stdout._stream if isinstance(sys.stdout, _Output) else sys.stdout
    if found is None:
        raise ValueError("standard output was closed before the start")
    return found


def flush_standard_streams() -> None:
    """Discard what cannot be written any more: Python would fail on it at exit and change the exit code."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, OutputError, ValueError):
            _give_up(stream)


def _give_up(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
