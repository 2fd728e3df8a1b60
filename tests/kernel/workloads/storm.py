# SPDX-License-Identifier: Apache-2.0
"""Short-lived processes, many at once, all of one name: python3 -S -E storm.py NAME AT_ONCE EACH READS [PROGRAM].

Each reads one cached page that often with preadv2; it becomes PROGRAM with the page's file afterwards, if one is named.
Prints how many there were and how many of them failed, as JSON.
"""

import ctypes
import json
import os
import sys
import tempfile

PAGE = 4096
name, at_once, each, reads, *program = sys.argv[1:]


def work(file):
    """What a short-lived process does."""
    for _ in range(int(reads)):
        os.preadv(file.fileno(), [bytearray(512)], 0)
    if program:
        os.execvp(program[0], [*program, file.name])
    os._exit(0)


def in_turn(file):
    """One process after the other; how many failed."""
    failed = 0
    for _ in range(int(each)):
        child = os.fork()
        if child == 0:
            work(file)
        failed += os.waitpid(child, 0)[1] != 0
    return failed


def main():
    """As many rows of processes as are wanted, at once."""
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * PAGE)
        file.flush()
        os.fsync(file.fileno())
        parents = []
        for _ in range(int(at_once)):
            parent = os.fork()
            if parent == 0:
                os._exit(min(in_turn(file), 255))
            parents.append(parent)
        failed = sum(os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) for parent in parents)
    sys.stdout.write(json.dumps({"processes": int(at_once) * int(each), "failed": failed}))


main()
