# SPDX-License-Identifier: Apache-2.0
"""Disk requests that bypass the page cache: direct.py ACTION PATH BYTES STEP."""

import mmap
import os
import random
import time
from collections.abc import Callable
from typing import Any

import window
from window import Facts

REQUESTS = 257


def _places(size: int, step: int) -> list[int]:
    places = list(range(0, size - step + 1, step))
    random.Random(23).shuffle(places)
    return (places * (REQUESTS // len(places) + 1))[:REQUESTS]


def _repeat(path: str, flags: int, call: Callable[[int, list[Any], int], int], size: int, step: int) -> Facts:
    descriptor = os.open(path, flags | os.O_DIRECT)
    room = mmap.mmap(-1, step)  # direct I/O needs page-aligned memory
    seconds = 0.0
    for place in _places(size, step):
        started = time.perf_counter()
        call(descriptor, [room], place)
        seconds += time.perf_counter() - started
    return {"requests": REQUESTS, "bytes": REQUESTS * step, "seconds": seconds}


def reads(path: str, size: int, step: int) -> Facts:
    """One by one, at offsets that cannot be merged."""
    return _repeat(path, os.O_RDONLY, os.preadv, size, step)


def writes(path: str, size: int, step: int) -> Facts:
    """The same for writes, overwriting the file."""
    return _repeat(path, os.O_RDWR, os.pwritev, size, step)


window.main({each.__name__: each for each in (reads, writes)})
