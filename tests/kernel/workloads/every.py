# SPDX-License-Identifier: Apache-2.0
"""Every system call of a list a known number of times: every.py every FOLDER 0 0.

FOLDER holds numbers.json, the numbers of the calls by name: those of the default list, and some others. Calls are made
by number, because the C library answers some by others. All is prepared before the window opens, so that no call in it
is the interpreter's own.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import struct
import sys
from collections import Counter, defaultdict
from itertools import count
from pathlib import Path

import window

PAGE = mmap.PAGESIZE
AT_FDCWD, BAD = -100, -1
IO_URING_SETUP = 425  # on all architectures
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class Stage:
    """What the calls work on; lengths and places are such that each call moves all that it is asked to."""

    def __init__(self, folder):
        self.folder = os.fsencode(folder)
        self.data = os.open(folder / "data", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(self.data, b"x" * (64 * PAGE))
        os.lseek(self.data, 0, os.SEEK_SET)
        self.copy = os.open(folder / "copy", os.O_RDWR | os.O_CREAT, 0o600)
        self.pipe = os.pipe()
        os.write(self.pipe[1], b"x" * PAGE)
        self.room = mmap.mmap(-1, PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.room))
        self.pair = ctypes.create_string_buffer(struct.pack("QQQQ", self.address, 100, self.address, 11))
        self.nothing = folder / "nothing"
        self.nothing.mkdir()
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for _ in range(30):
            self.far.send(bytes(111))
        # struct msghdr: no address, two pieces, no control data
        self.message = ctypes.create_string_buffer(struct.pack("7Q", 0, 0, ctypes.addressof(self.pair), 2, 0, 0, 0))
        self.ring = libc.syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
        self.fresh = (self.folder + b"/%d" % number for number in count())

    def moving(self):
        """Calls that return a length: arguments and that length, by name."""
        data, copy, address, vector = self.data, self.copy, self.address, ctypes.addressof(self.pair)
        return {
            "read": ((data, address, 101), 101),
            "pread64": ((data, address, 103, 0), 103),
            "readv": ((data, vector, 2), 111),
            "preadv": ((data, vector, 2, 0, 0), 111),
            "preadv2": ((data, vector, 2, 0, 0, 0), 111),
            "write": ((copy, address, 107), 107),
            "pwrite64": ((copy, address, 109, 0), 109),
            "writev": ((copy, vector, 2), 111),
            "pwritev": ((copy, vector, 2, 0, 0), 111),
            "pwritev2": ((copy, vector, 2, 0, 0, 0), 111),
            "sendfile": ((copy, data, 0, 113), 113),
            "splice": ((self.pipe[0], 0, copy, 0, 127, 0), 127),
            "copy_file_range": ((data, 0, copy, 0, 131, 0), 131),
            "getrandom": ((address, 17, 0), 17),
            "recvmsg": ((self.near.fileno(), ctypes.addressof(self.message), 0), 111),
            "sendmsg": ((self.near.fileno(), ctypes.addressof(self.message), 0), 111),
        }

    def others(self):
        """Calls that return no length."""
        address, path = self.address, self.folder + b"/data"
        return {
            "fsync": (self.data,),
            "fdatasync": (self.data,),
            "sync_file_range": (self.data, 0, 0, 2),
            "openat": (AT_FDCWD, path, os.O_RDONLY),
            "mmap": (0, PAGE, mmap.PROT_READ, mmap.MAP_SHARED, self.data, 0),
            "msync": (address, PAGE, 4),
            "madvise": (address, PAGE, 0),
            "fadvise64": (self.data, 0, 0, 0),
            "fallocate": (self.data, 0, 0, PAGE),
            "io_uring_enter": (self.ring, 0, 0, 0, 0, 0),
            "statx": (AT_FDCWD, path, 0, 0x7FF, address),
        }

    def on_a_new_file(self, name):
        """Arguments of calls that each need a file of their own, and the length that they return, if any."""
        if name == "getdents64":  # "." and ".." of 24 bytes each
            return (os.open(self.nothing, os.O_RDONLY), self.address, PAGE), 48
        old, new = next(self.fresh), next(self.fresh)
        os.close(os.open(old, os.O_CREAT | os.O_WRONLY, 0o600))
        return {
            "unlink": (old,),
            "unlinkat": (AT_FDCWD, old, 0),
            "rename": (old, new),
            "renameat": (AT_FDCWD, old, AT_FDCWD, new),
            "renameat2": (AT_FDCWD, old, AT_FDCWD, new, 0),
        }[name], None

    def refused(self):
        """Arguments that must be refused, and the errno, where a bad descriptor as the first one will not do."""
        gone = self.folder + b"/gone"
        return {
            "openat": ((AT_FDCWD, gone, os.O_RDONLY), errno.ENOENT),
            "unlink": ((gone,), errno.ENOENT),
            "unlinkat": ((AT_FDCWD, gone, 0), errno.ENOENT),
            "rename": ((gone, gone), errno.ENOENT),
            "renameat": ((AT_FDCWD, gone, AT_FDCWD, gone), errno.ENOENT),
            "renameat2": ((AT_FDCWD, gone, AT_FDCWD, gone, 0), errno.ENOENT),
            "getrandom": ((self.address, 17, BAD), errno.EINVAL),
            "statx": ((AT_FDCWD, gone, 0, 0x7FF, self.address), errno.ENOENT),
            "mmap": ((0, PAGE, 1, mmap.MAP_SHARED, BAD, 0), errno.EBADF),
            "msync": ((1, PAGE, 4), errno.EINVAL),
            "madvise": ((1, PAGE, 0), errno.EINVAL),
        }


def plan_for(stage, names):
    """(name, arguments, result or None for any, errno or 0): the n-th name succeeds n + 2 times, fails n + 1 times."""
    moving, others, refused = stage.moving(), stage.others(), stage.refused()
    for place, name in enumerate(names):
        for _ in range(place + 2):
            alike = moving.get(name) or (name in others and (others[name], None))
            yield name, *(alike or stage.on_a_new_file(name)), 0
        for _ in range(place + 1):
            usual = moving[name][0] if name in moving else (BAD, 0, 0, 0, 0, 0)
            arguments, error = refused.get(name, ((BAD, *usual[1:]), errno.EBADF))
            yield name, arguments, -1, error


def passed(arguments):
    """For the C library: words of the machine's size, and bytes unchanged."""
    return [each if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]


def facts_of(plan):
    """What a plan makes: calls, bytes and errors by errno, by name."""
    facts = defaultdict(lambda: {"calls": 0, "bytes": 0, "errors": Counter()})
    for name, _, result, error in plan:
        facts[name]["calls"] += 1
        facts[name]["bytes"] += max(result or 0, 0)
        if error:
            facts[name]["errors"][error] += 1
    return facts


numbers = json.loads((Path(sys.argv[2]) / "numbers.json").read_text())
stage = Stage(Path(sys.argv[2]))
if stage.ring < 0:
    del numbers["io_uring_enter"]  # switched off on this machine
plan = list(plan_for(stage, numbers))
facts = facts_of(plan)
calls = [(ctypes.c_long(numbers[name]), *passed(arguments)) for name, arguments, _, _ in plan]
results = [0] * len(plan)
errors = [0] * len(plan)


def every(path, size, step):
    """All calls of the plan."""
    for place, call in enumerate(calls):
        results[place] = libc.syscall(*call)
        errors[place] = ctypes.get_errno() if results[place] < 0 else 0
    for (name, _, result, error), got, failed in zip(plan, results, errors, strict=True):
        if error != failed or result not in (None, got):
            raise OSError(failed, f"{name} gave {got}")
    return facts


window.main({"every": every})
