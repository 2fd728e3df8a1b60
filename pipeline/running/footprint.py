# SPDX-License-Identifier: Apache-2.0
"""A small service: one heap for all threads, and memory that is not needed any more given back.

Importing touches most of what libraries consist of; the running service needs half of it. Pages of files that nobody
has changed can be dropped at any time: the kernel has them (or the file) and maps them again when they are used. It
would do so by itself only when memory is short.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from pathlib import Path

Advise = Callable[[int, int], None]
"""Takes the address and the length of a mapping whose pages are not needed now."""

_DONTNEED = 4
_ARENA_MAX = -8  # from malloc.h
# an address range of a file that cannot be written, then lines that tell how much of it is not the file's any more
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \d+ +/.*\n((?:[A-Z]\w+: .*\n)+)", re.MULTILINE)
_CHANGED = re.compile(r"^(?:Anonymous|Swap|Locked): +[1-9]", re.MULTILINE)


def release_startup_pages(proc: Path, advise: Advise | None = None) -> None:
    """Drop the file pages that this process has mapped and not changed; ``proc``: where /proc is.

    Call it while no other thread runs that might load a library: what is read here must still be so when it is acted
    on. Without smaps (a restricted /proc) nothing is done.
    """
    try:
        text = (proc / "self/smaps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for begin, end in unchanged_mappings(text):
        (advise or _advise)(begin, end - begin)


def use_one_heap() -> None:
    """Let all threads share a heap (mallopt(3), glibc only). Call it before threads start.

    Else each thread that ever rendered a page keeps the memory for one; the interpreter's lock lets only one thread
    allocate at a time anyway.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_ARENA_MAX, 1)


def release_free_memory() -> None:
    """Give free pages of the heap to the kernel (malloc_trim(3); other C libraries than glibc have none).

    Rendering a large page leaves free memory between long-lived objects, which the C library would keep for ever.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def unchanged_mappings(smaps: str) -> Iterator[tuple[int, int]]:
    """Begin and end of the private read-only mappings of files in which all pages are the file's (see proc(5))."""
    for begin, end, about in _MAPPING.findall(smaps):
        if not _CHANGED.search(about):
            yield int(begin, 16), int(end, 16)


def _advise(address: int, length: int) -> None:
    # madvise(2); a refusal only means that the memory stays
    ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), _DONTNEED)
