# SPDX-License-Identifier: Apache-2.0
"""Reads of pages that were read in before: asking.py ACTION PATH BYTES STEP.

Facts are in pages: requested ``pages``, and how many of them are ``misses``, requested for the first time since they
were read from the disk.
"""

import mmap
import os

import window
from window import Facts

PAGE = mmap.PAGESIZE
MOST = 8 << 20
FILES = 100
PAGES = 16


def _cold(path: str) -> int:
    """A new file of a few pages that is on the disk and not in the cache."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, os.urandom(PAGES * PAGE))
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return descriptor


def heads(path: str, size: int, step: int) -> Facts:
    """The first page of many files, which the kernel reads ahead of, three times."""
    for number in range(FILES):
        descriptor = _cold(f"{path}.head-{number}")
        for _ in range(3):
            os.pread(descriptor, PAGE, 0)
        os.close(descriptor)
        os.unlink(f"{path}.head-{number}")
    return {"pages": 3 * FILES, "misses": FILES}


def later(path: str, size: int, step: int) -> Facts:
    """The first page of a file again and again, and only then the second."""
    descriptor, asked = _cold(f"{path}.later"), [0] * 23 + [PAGE] * 23
    for place in asked:
        os.pread(descriptor, PAGE, place)
    return {"pages": len(asked), "misses": 2}


def by_another(path: str, size: int, step: int) -> Facts:
    """A child, of the same name, reads ahead what its parent reads twice."""
    descriptor, end = os.open(path, os.O_RDONLY), min(size, MOST)
    child = os.fork()
    if child == 0:
        for place in range(0, end, step):
            os.posix_fadvise(descriptor, place, step, os.POSIX_FADV_WILLNEED)
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(2):
        for place in range(0, end, step):
            os.pread(descriptor, step, place)
    return {"pages": 2 * end // PAGE, "misses": end // PAGE}


def after_a_mapping(path: str, size: int, step: int) -> Facts:
    """Faults read in the pages that are read afterwards."""
    descriptor, end = os.open(path, os.O_RDONLY), min(size, MOST)
    with mmap.mmap(descriptor, end, prot=mmap.PROT_READ) as view:
        for place in range(0, end, PAGE):
            view[place]
    for place in range(0, end, step):
        os.pread(descriptor, step, place)
    return {"pages": end // PAGE, "misses": 0}


def rewritten(path: str, size: int, step: int) -> Facts:
    """Pages that were read ahead are truncated, and others are written in their place."""
    descriptor = _cold(f"{path}.rewritten")
    os.pread(descriptor, PAGE, 0)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, bytes(PAGES * PAGE), 0)
    os.pread(descriptor, PAGES * PAGE, 0)
    return {"pages": 1 + PAGES, "misses": 1}


def in_one_call(path: str, size: int, step: int) -> Facts:
    """A whole file; the self-test's 64 MiB exceed what is accounted at the end of one call."""
    os.pread(os.open(path, os.O_RDONLY), size, 0)
    return {"pages": size // PAGE, "misses": size // PAGE}


window.main({
    each.__name__: each for each in (heads, later, by_another, after_a_mapping, rewritten, in_one_call)
})  # fmt: skip
