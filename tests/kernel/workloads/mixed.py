# SPDX-License-Identifier: Apache-2.0
"""Threads and processes that read and fail, for tools that follow children: python3 -S -E mixed.py FOLDER."""

import contextlib
import os
import sys
import threading
from pathlib import Path

folder = sys.argv[1]


def read(times):
    """Good calls and failing ones, some with bytes."""
    path = f"{folder}/data-{threading.get_native_id()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for place in range(times):
        os.pwrite(descriptor, b"x" * 100, place * 100)
        os.pread(descriptor, 50, 0)
        with contextlib.suppress(OSError):
            os.open(f"{folder}/gone", os.O_RDONLY)
        with contextlib.suppress(OSError):
            os.fsync(1000)
    os.fdatasync(descriptor)
    os.close(descriptor)
    Path(path).unlink()


children = []
for number in range(3):
    child = os.fork()
    if not child:
        read(10 + number)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
threads = [threading.Thread(target=read, args=(20 + number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
