# SPDX-License-Identifier: Apache-2.0
"""Uses memory in a cgroup: python3 -S -E pressure.py ACTION CGROUP MEGABYTES [PATH]. Prints its process id as JSON."""

import json
import mmap
import os
import sys
from pathlib import Path
from threading import Thread

MIB = 1 << 20


def reads(megabytes, path):
    """Read a file: clean pages, which reclaim can drop."""
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, MIB):
        pass


def takes(megabytes, path):
    """Use memory that cannot be dropped."""
    view = mmap.mmap(-1, megabytes * MIB)
    touch(view, 0, 1)


def bursts(megabytes, path):
    """The same in 16 threads: the kernel tells each of them that it is to die."""
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
    """Join the cgroup, say who we are, and begin."""
    action, cgroup, megabytes, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), (*sys.argv, "")[4]
    (Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))
    sys.stdout.write(json.dumps({"pid": os.getpid()}))
    sys.stdout.flush()
    {"reads": reads, "takes": takes, "bursts": bursts}[action](megabytes, path)


main()
