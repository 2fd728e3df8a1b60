# SPDX-License-Identifier: Apache-2.0
"""Uses memory in a cgroup: python3 -S -E pressure.py ACTION CGROUP MEGABYTES [PATH]. Prints its process id as JSON."""

import json
import mmap
import os
import sys
from pathlib import Path

MIB = 1 << 20


def reads(megabytes, path):
    """Read a file: clean pages, which reclaim can drop."""
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, MIB):
        pass


def takes(megabytes, path):
    """Use memory that cannot be dropped."""
    view = mmap.mmap(-1, megabytes * MIB)
    for place in range(0, megabytes * MIB, mmap.PAGESIZE):
        view[place] = 1


def main():
    """Join the cgroup, say who we are, and begin."""
    action, cgroup, megabytes, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), (*sys.argv, "")[4]
    (Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))
    sys.stdout.write(json.dumps({"pid": os.getpid()}))
    sys.stdout.flush()
    {"reads": reads, "takes": takes}[action](megabytes, path)


main()
