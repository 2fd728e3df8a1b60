# SPDX-License-Identifier: Apache-2.0
"""Many short-lived processes: python3 -S -E processes.py PROCESSES READS [NAME]; each reads one cached page that often.
With NAME each has a unique name that starts with it.

Prints the id of the parent and how many reads all children made, as JSON.
"""

import json
import os
import sys
import tempfile

PAGE = 4096


def main():
    """One child after the other."""
    processes, reads = int(sys.argv[1]), int(sys.argv[2])
    named = sys.argv[3:]
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * PAGE)
        file.flush()
        for number in range(processes):
            child = os.fork()
            if child == 0:
                for name in named:
                    os.write(os.open("/proc/self/comm", os.O_WRONLY), f"{name}{number}".encode())
                for _ in range(reads):
                    os.pread(file.fileno(), 512, 0)
                os._exit(0)
            os.waitpid(child, 0)
    sys.stdout.write(json.dumps({"pid": os.getpid(), "reads": processes * reads}))


main()
