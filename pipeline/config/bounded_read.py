# SPDX-License-Identifier: Apache-2.0
"""Bounded reads of files that a configuration names: paths come from users and variables, and the reader may be root.

An endless file (``/dev/zero``) must not exhaust memory, and one that never returns data (a pipe without a writer,
``/proc/kmsg``) must not block the command for ever.
"""

from __future__ import annotations

import os
import re
import select
import stat
import time
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 1 << 20
"""The most bytes that are read; the limit of a Kubernetes ConfigMap or Secret."""
PIPE_TIMEOUT_SECONDS = 10.0
"""How long to wait for data from a pipe."""

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")
_NULL = os.makedev(1, 3)


class UnreadableError(Exception):
    """A file cannot be read; the message says why and what to do, but does not name the file."""


def read_file(path: str | Path, timeout: float = PIPE_TIMEOUT_SECONDS) -> bytes:
    """The whole content of a regular file, of a pipe, or of ``/dev/null``. Raises `UnreadableError`.

    ``timeout``: seconds to wait for data from a pipe.
    """
    try:
        descriptor = _opened(str(path))
        try:
            return _content(descriptor, timeout)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UnreadableError(f"cannot be read: {reason}; check the path and its rights") from error
    except ValueError as error:  # a path with a NUL character
        raise UnreadableError(f"cannot be read: {error}; correct the path") from error


def read_stream(stream: BinaryIO) -> bytes:
    """All of standard input, with no timeout: a person may type it. Raises `UnreadableError` above the limit."""
    return _bounded(stream.read(MAX_BYTES + 1))


def _opened(path: str) -> int:
    """A non-blocking descriptor; opening a device can have side effects, so devices are never opened."""
    own = _DESCRIPTOR.fullmatch("/dev/fd/0" if path == "/dev/stdin" else path)
    if own:  # "<(command)" of a shell: reopening it could not tell a finished command from one yet to start
        return os.dup(int(own[1]))
    _refuse_device(Path(path).stat())
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)


def _refuse_device(found: os.stat_result) -> None:
    if stat.S_ISBLK(found.st_mode) or (stat.S_ISCHR(found.st_mode) and found.st_rdev != _NULL):
        raise UnreadableError("is a device; give a file or a pipe")
    if stat.S_ISSOCK(found.st_mode):
        raise UnreadableError("is a socket; give a file or a pipe")


def _content(descriptor: int, timeout: float) -> bytes:
    found = os.fstat(descriptor)
    _refuse_device(found)  # a descriptor may refer to one, and the path may have been replaced
    pipe = stat.S_ISFIFO(found.st_mode)
    content = b""
    while len(content) <= MAX_BYTES:
        if pipe:
            _wait(descriptor, timeout)
        piece = _piece(descriptor, MAX_BYTES + 1 - len(content))
        if not piece:
            break
        content += piece
    return _bounded(content)


def _wait(descriptor: int, timeout: float) -> None:
    """Wait until there is data or the last writer has closed."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + timeout
    while not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        if time.monotonic() >= deadline:
            raise UnreadableError(f'is a pipe without data for {timeout:g} s; check its writer, or use "-"')


def _piece(descriptor: int, most: int) -> bytes:
    try:
        return os.read(descriptor, most)
    except BlockingIOError as error:  # a kernel file that waits for new data, such as /proc/kmsg
        raise UnreadableError("never ends; give a file that does") from error


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"is longer than {MAX_BYTES >> 20} MiB; give a smaller file")
    return content
