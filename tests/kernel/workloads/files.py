# SPDX-License-Identifier: Apache-2.0
"""A known use of a file, in a process of its own: python3 -S -E files.py ACTION PATH MEGABYTES READ_SIZE.

Prints what the kernel counted for this process meanwhile: bytes fetched from disk, as JSON.
"""

import ctypes
import json
import mmap
import os
import random
import sys
import threading
from pathlib import Path

PAGE = 4096


def fetched():
    """Bytes that the kernel fetched from disk for this process."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def sequential(path, size, step):
    """From start to end."""
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, step):
        pass


def at_random(path, size, step):
    """Every block once, without read-ahead."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    places = list(range(0, size, step))
    random.Random(23).shuffle(places)
    for place in places:
        os.pread(descriptor, step, place)


def mapped(path, size, step):
    """Touch every page."""
    descriptor = os.open(path, os.O_RDONLY)
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as view:
        for place in range(0, size, PAGE):
            view[place]


def written(path, size, step):
    """A new file."""
    block = b"x" * step
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for _ in range(0, size, step):
        os.write(descriptor, block)
    os.fsync(descriptor)


def in_threads(path, size, step):
    """Eight threads read an eighth each."""
    descriptor = os.open(path, os.O_RDONLY)
    share = size // 8

    def part(number):
        for place in range(number * share, (number + 1) * share, step):
            os.pread(descriptor, step, place)

    threads = [threading.Thread(target=part, args=(number,), name=f"reader-{number}") for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def populated(path, size, step):
    """The kernel reads the file in while mapping it."""
    descriptor = os.open(path, os.O_RDONLY)
    mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ).close()


def dropped(path, size, step):
    """Read, then drop from the cache."""
    sequential(path, size, step)
    os.posix_fadvise(os.open(path, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)


def nothing(path, size, step):
    """The start of the interpreter only."""


def oversized(path, size, step):
    """One read per file end: requests far more than there is."""
    for _ in range(23):
        descriptor = os.open(path, os.O_RDONLY)
        os.read(descriptor, step)
        os.close(descriptor)


def renamed(path, size, step):
    """Each third is read by the first thread, one that started before the process changed its name, and one that
    started after."""
    shares = iter(range(0, size, size // 3 // step * step))
    descriptor, named, started = os.open(path, os.O_RDONLY), threading.Event(), threading.Event()

    def part():
        begin = next(shares)
        for place in range(begin, begin + size // 3 // step * step, step):
            os.pread(descriptor, step, place)

    def early():
        os.pread(descriptor, step, 0)
        started.set()
        named.wait()
        part()

    first = threading.Thread(target=early)
    first.start()
    started.wait()
    name("new-name")
    named.set()
    first.join()
    part()
    last = threading.Thread(target=part)
    last.start()
    last.join()


def name(text):
    """Rename this thread."""
    ctypes.CDLL(None).prctl(15, text[:15].encode(), 0, 0, 0)


ACTIONS = {
    each.__name__: each
    for each in (sequential, at_random, mapped, written, in_threads, populated, dropped, nothing, oversized, renamed)
}


def main():
    """Do what the first argument says, under a name of its own."""
    action, path, megabytes, step = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    name(os.environ.get("WORKLOAD", action))
    before = fetched()
    ACTIONS[action](path, int(float(megabytes) * (1 << 20)), step)
    sys.stdout.write(json.dumps({"pid": os.getpid(), "fetched": fetched() - before}))


main()
