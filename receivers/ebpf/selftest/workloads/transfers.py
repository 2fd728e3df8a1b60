# SPDX-License-Identifier: Apache-2.0
"""Page cache traffic other than read and write: transfers.py ACTION PATH BYTES STEP.

Facts are in pages. Only the first MiBs of large files are used.
"""

import contextlib
import ctypes
import mmap
import os

import window
from window import Facts

PAGE = mmap.PAGESIZE
MOST = 8 << 20
TIMES = 23


def _target(path: str) -> int:
    return os.open(f"{path}.target", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)


def sent(path: str, size: int, step: int) -> Facts:
    """From file to file with sendfile."""
    source, target, end = os.open(path, os.O_RDONLY), _target(path), min(size, MOST)
    for place in range(0, end, step):
        os.sendfile(target, source, place, min(step, end - place))
    return {"pages": end // PAGE}


def spliced(path: str, size: int, step: int) -> Facts:
    """From file to pipe to file with splice."""
    source, target, end = os.open(path, os.O_RDONLY), _target(path), min(size, MOST)
    reading, writing = os.pipe()
    moved = 0
    while moved < end:
        waiting = os.splice(source, writing, min(step, end - moved))
        moved += waiting
        while waiting:
            waiting -= os.splice(reading, target, waiting)
    return {"pages": end // PAGE}


def copied(path: str, size: int, step: int) -> Facts:
    """From file to file with copy_file_range, from the second byte on, so that no file system just shares the
    blocks."""
    source, target, end = os.open(path, os.O_RDONLY), _target(path), min(size, MOST)
    moved = 0
    while moved < end - 1:
        moved += os.copy_file_range(source, target, end - 1 - moved, 1 + moved)
    return {"pages": end // PAGE}


def read_ahead(path: str, size: int, step: int) -> Facts:
    """Read pages in without accessing them."""
    source, end = os.open(path, os.O_RDONLY), min(size, MOST)
    for place in range(0, end, step):
        # not by libc_call: workloads have the standard library alone
        ctypes.CDLL(None).readahead(source, ctypes.c_int64(place), ctypes.c_size_t(step))
    return {"pages": end // PAGE}


def holes(path: str, size: int, step: int) -> Facts:
    """Read a file without any blocks on the disk."""
    end = min(size, MOST)
    sparse = os.open(f"{path}.sparse", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.ftruncate(sparse, end)
    while os.read(sparse, step):
        pass
    return {"pages": end // PAGE}


def past_end(path: str, size: int, step: int) -> Facts:
    """Read past the end of the file, and read zero bytes."""
    source = os.open(path, os.O_RDONLY)
    for number in range(TIMES):
        os.pread(source, step, size + number * PAGE)
        os.pread(source, 0, number * PAGE)
    return {}


def patched(path: str, size: int, step: int) -> Facts:
    """Write a hundred bytes in the middle of every eighth page: the rest of those pages has to be read first."""
    target, end = os.open(path, os.O_RDWR), min(size, MOST)
    for place in range(0, end, 8 * PAGE):
        os.pwrite(target, b"x" * 100, place + 50)
    return {"pages": end // (8 * PAGE)}


def executed(path: str, size: int, step: int) -> Facts:
    """Execute files that are not programs: the kernel reads their first page and refuses."""
    for number in range(TIMES):
        script = f"{path}.text-{number}"
        descriptor = os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
        os.write(descriptor, b"text" * (PAGE // 4))
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.execv(script, [script])  # noqa: S606 # nothing is started
        os.unlink(script)
    return {"pages": TIMES}


window.main({
    each.__name__: each
    for each in (sent, spliced, copied, read_ahead, holes, past_end, patched, executed)
})  # fmt: skip
