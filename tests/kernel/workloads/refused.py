# SPDX-License-Identifier: Apache-2.0
"""Calls that seccomp refuses: python3 -S -E refused.py ACTION; prints its process id and what it did, as JSON."""

import errno
import json
import os
import socket
import sys
import threading
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "receivers" / "ebpf" / "selftest" / "workloads"
sys.path.insert(0, str(SCRIPTS))
sys.dont_write_bytecode = True  # no __pycache__ next to these scripts
from refusing import FDATASYNC, call, refuse  # noqa: E402  # it is there alone that it can be found

TIMES = 23


def young():
    """Threads that make one call, which is refused."""
    refuse((FDATASYNC, errno.EACCES))
    for _ in range(TIMES):
        thread = threading.Thread(target=call, args=(FDATASYNC, 1))
        thread.start()
        thread.join()
    return {"times": TIMES}


def waiting():
    """Under a filter, a read of a socket that is in progress when its peer (us: standard input) is closed."""
    refuse((FDATASYNC, errno.EPERM))
    here = socket.socket(fileno=0)
    here.send(b"ready")  # never read there, so that the connection is reset
    try:
        here.recv_into(bytearray(1))
    except ConnectionResetError as error:
        first = error.errno
    return {"first": first, "refused": call(FDATASYNC, 0)}


result = {each.__name__: each for each in (young, waiting)}[sys.argv[1]]()
sys.stdout.write(json.dumps({"pid": os.getpid(), "result": result}))
