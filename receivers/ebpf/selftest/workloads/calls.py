# SPDX-License-Identifier: Apache-2.0
"""Known system calls: calls.py ACTION PATH BYTES STEP."""

import contextlib
import os
import signal
import threading
import time

import window
from window import Facts

TIMES = 23
PRIMES = (2, 3, 5, 7, 11, 13)
"""How often each advice is given, in the kernel's order."""
CLOSED = 1000
"""A descriptor that is not open; Python itself refuses negative ones."""
PAUSE = 0.05


def synced(path: str, size: int, step: int) -> Facts:
    """Both ways to wait for the disk."""
    descriptor = os.open(path, os.O_RDWR)
    for _ in range(TIMES):
        os.fsync(descriptor)
        os.fdatasync(descriptor)
    return {"calls": TIMES}


def failing(path: str, size: int, step: int) -> Facts:
    """Calls with invalid arguments."""
    for call in (
        lambda: os.open(f"{path}.missing", os.O_RDONLY),
        lambda: os.preadv(CLOSED, [bytearray(1)], 0),
        lambda: os.fdatasync(CLOSED),
        lambda: os.rename(f"{path}.missing", path),
    ):
        for _ in range(TIMES):
            with contextlib.suppress(OSError):
                call()
    return {"calls": TIMES, "bad_descriptors": 2 * TIMES}


def moved(path: str, size: int, step: int) -> Facts:
    """Known numbers of bytes read, written and copied."""
    source = os.open(path, os.O_RDONLY)
    target = os.open(f"{path}.copy", os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(TIMES):
        os.pwrite(target, b"x" * 1000, 0)
        os.pread(source, 700, 0)
        os.sendfile(target, source, 0, 300)
    os.unlink(f"{path}.copy")
    return {"written": TIMES * 1000, "read": TIMES * 700, "copied": TIMES * 300}


def advised(path: str, size: int, step: int) -> Facts:
    """Each advice a prime number of times, and some that are refused."""
    descriptor = os.open(path, os.O_RDONLY)
    for advice, times in enumerate(PRIMES):
        for _ in range(times):
            os.posix_fadvise(descriptor, 0, 0, advice)
    for _ in range(TIMES):
        with contextlib.suppress(OSError):
            os.posix_fadvise(CLOSED, 0, 0, os.POSIX_FADV_NORMAL)
    words = ("normal", "random", "sequential", "willneed", "dontneed", "noreuse")
    by_word = dict(zip(words, PRIMES, strict=True))
    return {**by_word, "normal": PRIMES[0] + TIMES, "calls": sum(PRIMES) + TIMES, "success": sum(PRIMES)}


def _write_later(descriptor: int) -> None:
    time.sleep(PAUSE)
    os.write(descriptor, b"x")


def waiting(path: str, size: int, step: int) -> Facts:
    """Reads that wait for data for a time that the caller's own clock measures."""
    reading, writing = os.pipe()
    seconds = 0.0
    for _ in range(5):
        other = threading.Thread(target=_write_later, args=(writing,))
        other.start()
        started = time.perf_counter()
        os.readv(reading, [bytearray(1)])
        seconds += time.perf_counter() - started
        other.join()
    return {"seconds": seconds, "calls": 5}


def _disturbed_read(*, restart: bool) -> float:
    """Read a pipe whose data arrives after a handled signal; return how long that took."""
    reading, writing = os.pipe()
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR1, not restart)
    child = os.fork()
    if child == 0:
        time.sleep(PAUSE)
        os.kill(os.getppid(), signal.SIGUSR1)
        _write_later(writing)
        os._exit(0)
    started = time.perf_counter()
    os.readv(reading, [bytearray(1)])  # Python itself repeats the read if the signal ended the call
    seconds = time.perf_counter() - started
    os.waitpid(child, 0)
    return seconds


def restarted(path: str, size: int, step: int) -> Facts:
    """A read that the kernel restarts after the handler: one call."""
    return {"seconds": _disturbed_read(restart=True), "calls": 1}


def interrupted(path: str, size: int, step: int) -> Facts:
    """A read that the signal interrupts: two calls, one of them with EINTR."""
    return {"seconds": _disturbed_read(restart=False), "calls": 2, "interruptions": 1}


window.main({each.__name__: each for each in (synced, failing, moved, advised, waiting, restarted, interrupted)})
