# SPDX-License-Identifier: Apache-2.0
"""Known uses of a file through the page cache: files.py ACTION PATH BYTES STEP. Facts are in pages."""

import mmap
import os
import random
import threading

import window
from window import Facts

PAGE = mmap.PAGESIZE
THREADS = 64
READS = 50


def sequential(path: str, size: int, step: int) -> Facts:
    """From start to end."""
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, step):
        pass
    return {"pages": size // PAGE}


def at_random(path: str, size: int, step: int) -> Facts:
    """Every block once, without read-ahead."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    places = list(range(0, size, step))
    random.Random(23).shuffle(places)
    for place in places:
        os.pread(descriptor, step, place)
    return {"pages": len(places) * (step // PAGE)}


def mapped(path: str, size: int, step: int) -> Facts:
    """Touch every page of a mapping."""
    descriptor = os.open(path, os.O_RDONLY)
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as view:
        for place in range(0, size, PAGE):
            view[place]
    return {"pages": size // PAGE}


def mapped_randomly(path: str, size: int, step: int) -> Facts:
    """Touch every 16th page of a mapping for which the kernel is told not to read ahead."""
    descriptor = os.open(path, os.O_RDONLY)
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as view:
        view.madvise(mmap.MADV_RANDOM)
        for place in range(0, size, 16 * PAGE):
            view[place]
    return {"pages": -(-size // (16 * PAGE))}


def fresh_memory(path: str, size: int, step: int) -> Facts:
    """Touch 4 MiB of pages that the process never had before."""
    pages = 1024
    with mmap.mmap(-1, pages * PAGE) as view:
        for place in range(0, pages * PAGE, PAGE):
            view[place] = 1
    return {"pages": pages}


def populated(path: str, size: int, step: int) -> Facts:
    """The kernel reads the file in while mapping it."""
    descriptor = os.open(path, os.O_RDONLY)
    mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ).close()
    return {"pages": size // PAGE}


def vectored(path: str, size: int, step: int) -> Facts:
    """With preadv2, into three buffers that are not page-aligned."""
    descriptor = os.open(path, os.O_RDONLY)
    pieces = [bytearray(100), bytearray(PAGE), bytearray(step - PAGE - 100)]
    got = sum(os.preadv(descriptor, pieces, place, os.RWF_HIPRI) for place in range(0, size, step))
    return {"pages": size // PAGE, "bytes": got}


def in_memory(path: str, size: int, step: int) -> Facts:
    """A file that is not on a disk, written and read."""
    descriptor = os.memfd_create("selftest")
    for _ in range(0, 8 << 20, step):
        os.write(descriptor, bytes(step))
    os.lseek(descriptor, 0, os.SEEK_SET)
    while os.read(descriptor, step):
        pass
    return {}


def written(path: str, size: int, step: int) -> Facts:
    """A new file."""
    block = b"x" * step
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for _ in range(0, size, step):
        os.write(descriptor, block)
    os.fsync(descriptor)
    return {"pages": size // PAGE}


def dropped(path: str, size: int, step: int) -> Facts:
    """Drop the file from the cache."""
    os.posix_fadvise(os.open(path, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
    return {}


def unlinked(path: str, size: int, step: int) -> Facts:
    """Remove a file that is cached."""
    os.unlink(path)
    return {}


def in_threads(path: str, size: int, step: int) -> Facts:
    """Many threads read one cached page each, again and again."""
    descriptor = os.open(path, os.O_RDONLY)

    def read(number: int) -> None:
        place = number * PAGE
        for _ in range(READS):
            os.pread(descriptor, step, place)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"calls": THREADS * READS, "pages": THREADS * READS, "bytes": THREADS * READS * step}


window.main({
    each.__name__: each
    for each in (sequential, at_random, mapped, mapped_randomly, fresh_memory, populated, vectored, in_memory, written,
                 dropped, unlinked, in_threads)
})  # fmt: skip
