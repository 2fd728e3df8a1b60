# SPDX-License-Identifier: Apache-2.0
"""Calls on descriptors: python3 -S -E descriptors.py ACTION PATH; prints its process id and what it did, as JSON."""

import contextlib
import json
import mmap
import os
import resource
import socket
import sys
import threading
import time

ROOM = bytearray(1)


def copied(path):
    """Copying calls: from file to socket, file to pipe, pipe to file, pipe to pipe; how often each."""
    here, there = socket.socketpair()
    source, target = os.open(path, os.O_RDONLY), os.open(f"{path}.copy", os.O_RDWR | os.O_CREAT, 0o600)
    reading, writing = os.pipe()
    _, other = os.pipe()
    for _ in range(5):
        os.sendfile(here.fileno(), source, 0, 100)
        there.recv(100)
        os.splice(source, writing, 100, offset_src=0)
        os.splice(reading, target, 100, offset_dst=0)
    os.splice(source, writing, 300, offset_src=0)
    for _ in range(3):
        os.splice(reading, other, 100)
    return {"sendfile": 5, "splice of a file": 11, "splice of pipes": 3}


def wrong(path):
    """Calls on descriptors that are not open, too large ones among them."""
    for descriptor in (999, 1 << 20, 0x7FFFFFFF):
        for _ in range(4):
            with contextlib.suppress(OSError):
                os.readv(descriptor, [bytearray(1)])
    return {"other": 12}


def device(path):
    """Reads and writes by the node of a disk, through the page cache and past it."""
    room = mmap.mmap(-1, mmap.PAGESIZE)
    for flags in (0, os.O_DIRECT):
        disk = os.open(path, os.O_RDWR | flags)
        for _ in range(4):
            os.readv(disk, [room])
        for _ in range(3):
            os.writev(disk, [room])
    return {"readv": 8, "writev": 6}


def growing(path):
    """Reads of a file and of a pipe while another thread makes the table of open files grow, time and again."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    pipe, file, times = os.pipe(), os.open(path, os.O_RDONLY), 0

    def grow():
        for highest in (200, 400, 900, 2_000, 4_000, 8_000, 16_000, 32_000):
            if highest < most:
                os.dup2(file, highest)
            time.sleep(0.002)

    thread = threading.Thread(target=grow)
    thread.start()
    while thread.is_alive() or not times:
        os.write(pipe[1], b"x")
        os.readv(pipe[0], [ROOM])
        os.lseek(file, 0, os.SEEK_SET)
        os.readv(file, [ROOM])
        times += 1
    thread.join()
    return {"file": times, "pipe": times}


ACTIONS = {each.__name__: each for each in (copied, wrong, device, growing)}

print(json.dumps({"result": ACTIONS[sys.argv[1]](sys.argv[2]), "pid": os.getpid()}), flush=True)
