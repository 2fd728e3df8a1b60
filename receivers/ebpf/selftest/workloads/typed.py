# SPDX-License-Identifier: Apache-2.0
"""System calls on every type of file, and calls that seccomp refuses: typed.py ACTION PATH BYTES STEP."""

import errno
import mmap
import os
import pty
import socket

import window
from refusing import FDATASYNC, RENAMEAT2, call, refuse
from window import Facts

TIMES = 23
ROOM = mmap.mmap(-1, 4096)  # a whole page, as direct reads need
EVENT = b"\1\0\0\0\0\0\0\0"
LINE = b"a line.\n"


def _read(times: int, reading: int, writing: int = -1, reported: bytes = EVENT) -> int:
    """Read what was written before, or the file's first bytes, with readv, which Python itself does not use."""
    for _ in range(times):
        if writing < 0:
            os.lseek(reading, 0, os.SEEK_SET)
        else:
            os.write(writing, reported)
        os.readv(reading, [ROOM])
    return times


def _files(path: str) -> int:
    memory = os.memfd_create("memory")
    os.write(memory, EVENT)
    return _read(3, os.open(path, os.O_RDONLY)) + _read(3, os.open(path, os.O_RDONLY | os.O_DIRECT)) + _read(3, memory)


def _pipes(path: str) -> int:
    os.mkfifo(f"{path}.fifo")
    fifo = os.open(f"{path}.fifo", os.O_RDWR)
    os.unlink(f"{path}.fifo")
    return _read(5, *os.pipe()) + _read(5, fifo, fifo)


def _sockets() -> int:
    here, there = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connected = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    with here, there, connected, accepted:
        return _read(7, here.fileno(), there.fileno()) + _read(7, accepted.fileno(), connected.fileno())


def _others() -> int:
    event = os.eventfd(0)
    names = ("/dev/zero", "/proc/self/stat", "/sys/kernel/notes")
    return _read(13, event, event) + sum(_read(13, os.open(name, os.O_RDONLY)) for name in names)


def types(path: str, size: int, step: int) -> Facts:
    """The number of reads of each type."""
    master, slave = pty.openpty()
    return {
        "file": _files(path),
        "pipe": _pipes(path),
        "socket": _sockets(),
        "tty": _read(11, slave, master, LINE),
        "other": _others(),
    }


def refused(path: str, size: int, step: int) -> Facts:
    """One call is refused, another pretends success."""
    refuse((FDATASYNC, errno.EPERM), (RENAMEAT2, 0))
    answers = [(call(FDATASYNC, 0), call(RENAMEAT2, 0)) for _ in range(TIMES)]
    return {"refused": sum(answer == (errno.EPERM, 0) for answer in answers)}


window.main({each.__name__: each for each in (types, refused)})
