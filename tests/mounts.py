# SPDX-License-Identifier: Apache-2.0
"""Mounts of one command or test alone: the machine may have tracefs mounted or not, and stays as it is."""

import ctypes
import functools
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

PLACE = "/sys/kernel/tracing"
WITH_TRACEFS = f"[ -d {PLACE}/events ] || mount -t tracefs tracefs {PLACE}"
# debugfs has a tracefs inside, which the kernel mounts as soon as somebody looks
WITHOUT_TRACEFS = "umount --all --lazy --types tracefs,debugfs"
CHANGED_NOTHING = 99
"""The exit code of a command whose mounts could not be arranged."""

_CREATE, _CLOSE_ON_EXEC = 6, 1  # linux/mount.h: FSCONFIG_CMD_CREATE; FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC


def in_mounts(script, rest):
    """The command line ``rest``, or its beginning, after a shell ``script`` that changes mounts for it alone."""
    return ["unshare", "-m", "sh", "-c", f'{{ {script}; }} || exit {CHANGED_NOTHING}; exec "$@"', "sh", *rest]


@functools.cache
def why_no_tracefs():
    """Why tests cannot mount a tracefs of their own here; empty if they can."""
    try:
        done = subprocess.run(in_mounts(WITH_TRACEFS, ["true"]), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unshare (util-linux) is not installed"
    return done.stderr.strip()


@contextmanager
def own_tracefs():
    """The folder of a tracefs that no namespace shows: children that are given its name see it, and it goes with us."""
    libc = ctypes.CDLL(None, use_errno=True)
    prepared = _done(libc.fsopen(b"tracefs", _CLOSE_ON_EXEC))
    try:
        _done(libc.fsconfig(prepared, _CREATE, None, None, 0))
        mounted = _done(libc.fsmount(prepared, _CLOSE_ON_EXEC, 0))
    finally:
        os.close(prepared)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{mounted}")
    finally:
        os.close(mounted)


def _done(answer):
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"tracefs cannot be mounted: {os.strerror(ctypes.get_errno())}")
    return answer
