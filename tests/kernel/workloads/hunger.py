# SPDX-License-Identifier: Apache-2.0
"""Uses up a machine's memory: python3 -S -E hunger.py ACTION MEBIBYTES [PATH].

Prints a line when it has, and gives it back when its input ends.
"""

import mmap
import os
import sys
from pathlib import Path

MIB = 1 << 20
HUGE = 2 * MIB
MADV_HUGEPAGE = 14
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def first_to_go():
    """Be the OOM killer's first choice."""
    Path("/proc/self/oom_score_adj").write_text("1000")


def reads(mebibytes, path):
    """Read a file: clean pages, which reclaim can drop."""
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, MIB):
        pass


def takes(mebibytes, path):
    """Use memory that cannot be dropped, before any thread of the kernel may run: so we reclaim, not kswapd."""
    first_to_go()
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return mmap.mmap(-1, mebibytes * MIB, PRIVATE | mmap.MAP_POPULATE)


def fragments(mebibytes, path):
    """Take memory by single pages, give back every other one, and ask for huge pages."""
    first_to_go()
    view = mmap.mmap(-1, mebibytes * MIB, PRIVATE)
    view.madvise(mmap.MADV_NOHUGEPAGE)
    for place in range(0, len(view), mmap.PAGESIZE):
        view[place] = 1
    for place in range(0, len(view), 2 * mmap.PAGESIZE):
        view.madvise(mmap.MADV_DONTNEED, place, mmap.PAGESIZE)
    huge = mmap.mmap(-1, mebibytes // 3 * MIB, PRIVATE)
    huge.madvise(MADV_HUGEPAGE)
    for place in range(0, len(huge), HUGE):
        huge[place] = 1


def main():
    """Do it, and hold it."""
    action, mebibytes, path = sys.argv[1], int(sys.argv[2]), (*sys.argv, "")[3]
    held = {"reads": reads, "takes": takes, "fragments": fragments}[action](mebibytes, path)
    print(flush=True)
    sys.stdin.read()
    del held


main()
