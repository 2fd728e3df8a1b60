# SPDX-License-Identifier: Apache-2.0
"""Uses memory in a cgroup: python3 -S -E pressure.py ACTION CGROUP MEGABYTES [PATH]. Prints its process id as JSON."""

import json
import mmap
import os
import signal
import sys
from pathlib import Path
from threading import Thread

MIB = 1 << 20


def reads(megabytes, path):
    """Read a file: clean pages, which reclaim can drop."""
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, MIB):
        pass


def writes(megabytes, path):
    """Write a file: pages that reclaim has to wait for."""
    with Path(path).open("wb", buffering=0) as file:
        for _ in range(megabytes):
            file.write(bytes(MIB))


def takes(megabytes, path):
    """Use memory that cannot be dropped."""
    view = mmap.mmap(-1, megabytes * MIB)
    touch(view, 0, 1)


def holds(megabytes, path):
    """The same, then print the end of the line and keep the memory."""
    view = mmap.mmap(-1, megabytes * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    touch(view, 0, 1)
    print(flush=True)
    signal.pause()


def bursts(megabytes, path):
    """The same in 16 threads: the kernel kills each of them."""
    view = mmap.mmap(-1, megabytes * MIB)
    threads = [Thread(target=touch, args=(view, i, 16)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def touch(view, first, step):
    """Write to every nth page."""
    for place in range(first * mmap.PAGESIZE, len(view), step * mmap.PAGESIZE):
        view[place] = 1


def main():
    """Join the cgroup, say who we are, and start."""
    action, cgroup, megabytes, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), (*sys.argv, "")[4]
    (Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))
    sys.stdout.write(json.dumps({"pid": os.getpid()}))
    sys.stdout.flush()
    {"reads": reads, "writes": writes, "takes": takes, "holds": holds, "bursts": bursts}[action](megabytes, path)


main()
