# SPDX-License-Identifier: Apache-2.0
"""A private tracefs: mounted by a child in its own mount namespace, so that no other process ever sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_sidecar.pipeline.process.isolation import python_code, start
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import PLACES, Tracefs, find_tracefs

from .host_facts import Tracing

_READABLE = b"readable\n"
# the child checks by itself: we look through /proc, which may be closed to us although tracefs is not
_MOUNT = (
    f"import {Tracefs.__module__} as tracefs\n"
    "tracefs.mount_tracefs()\n"
    "print('readable' if tracefs.find_tracefs() else 'hidden', flush=True)\n"
    "sys.stdin.read()\n"
)


@contextmanager
def mounted_privately() -> Iterator[tuple[Tracing, Tracefs | None]]:
    """Mount tracefs in a child; within the context it is visible through the child's root folder.

    ``HIDDEN`` and None if it can be mounted but not read; otherwise ``NOT_MOUNTED``, with None if mounting is refused.
    """
    try:
        child = start(python_code(_MOUNT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        yield Tracing.NOT_MOUNTED, None
        return
    with child:  # it exits when its input ends, and the mount goes with it
        assert child.stdout is not None
        reported = child.stdout.readline()
        tracefs = find_tracefs((_seen_by(child.pid),)) if reported == _READABLE else None
        yield Tracing.HIDDEN if reported and reported != _READABLE else Tracing.NOT_MOUNTED, tracefs


def _seen_by(process: int) -> Path:
    return Path(f"/proc/{process}/root", *PLACES[0].parts[1:])
