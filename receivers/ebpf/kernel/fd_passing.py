# SPDX-License-Identifier: Apache-2.0
"""JSON messages with file descriptors over a Unix stream socket."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

_LENGTH = struct.Struct("<II")
_PER_MESSAGE = 200  # the kernel takes 253 (SCM_MAX_FD)
_ENOUGH = 1 << 16  # not more: some programs iterate over all allowed numbers


def send_message(channel: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send ``message`` (anything JSON can represent) and descriptors. Raises `OSError`."""
    data = json.dumps(message).encode()
    channel.sendall(_LENGTH.pack(len(data), len(descriptors)) + data)
    for first in range(0, len(descriptors), _PER_MESSAGE):
        socket.send_fds(channel, [b"."], list(descriptors[first : first + _PER_MESSAGE]))


def receive_message(channel: socket.socket) -> tuple[Any, list[int]]:
    """The next message and its descriptors. Raises `EOFError` if the sender is gone, and `OSError` (also on
    timeout)."""
    length, count = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    message = json.loads(_exactly(channel, length))
    descriptors: list[int] = []
    try:
        while len(descriptors) < count:
            descriptors += _some_descriptors(channel)
    except BaseException:
        close_all(descriptors)
        raise
    return message, descriptors


def close_all(descriptors: Sequence[int]) -> None:
    """Close all of them, even if one cannot be closed. Raises `OSError` for that one."""
    with ExitStack() as closing:
        for descriptor in descriptors:
            closing.callback(os.close, descriptor)


def raise_descriptor_limit() -> None:
    """Raise this process's descriptor limit, which its children inherit, as far as it may.

    A shell sets 1024; perf event hooks take one descriptor per CPU.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft not in (resource.RLIM_INFINITY, hard) and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def release_descriptors(descriptors: Iterable[int]) -> None:
    """Release the objects they refer to, all or none. The descriptor numbers stay open, so that they can be closed
    later.

    Raises `OSError` before anything is released.
    """
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


def _some_descriptors(channel: socket.socket) -> list[int]:
    # one byte of data per message, so that two messages are never read as one
    data, received, flags, _ = socket.recv_fds(channel, 1, _PER_MESSAGE)
    if flags & socket.MSG_CTRUNC:
        close_all(received)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    if not data:
        raise EOFError
    for descriptor in received:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 # the parameter has no name
    return list(received)


def _exactly(channel: socket.socket, length: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = channel.recv(min(length, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
