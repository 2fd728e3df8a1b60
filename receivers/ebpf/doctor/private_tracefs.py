# SPDX-License-Identifier: Apache-2.0
"""tracefs for a look only: mounted by a child in a mount namespace of its own, so nobody else ever sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_sidecar.pipeline.process.isolation import python_code, start
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import PLACES, Tracefs, find_tracefs

from .machine import Tracing

_READABLE = b"readable\n"
# the child looks itself: ours is through /proc, which may be closed to us although tracefs is not
_MOUNT = (
    f"import {Tracefs.__module__} as tracefs\n"
    "tracefs.mount_tracefs()\n"
    "print('readable' if tracefs.find_tracefs() else 'hidden', flush=True)\n"
    "sys.stdin.read()\n"
)


@contextmanager
def mounted_elsewhere() -> Iterator[tuple[Tracing, Tracefs | None]]:
    """Meanwhile tracefs, seen through the root folder of the child that mounted it.

    ``HIDDEN`` and None where it can be mounted, but not read then; ``NOT_MOUNTED`` else, with None where it is refused.
    """
    try:
        child = start(python_code(_MOUNT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        yield Tracing.NOT_MOUNTED, None
        return
    with child:  # the end of its input ends it, and the mount with it
        assert child.stdout is not None
        said = child.stdout.readline()
        tracefs = find_tracefs((_seen_by(child.pid),)) if said == _READABLE else None
        yield Tracing.HIDDEN if said and said != _READABLE else Tracing.NOT_MOUNTED, tracefs


def _seen_by(process: int) -> Path:
    return Path(f"/proc/{process}/root", *PLACES[0].parts[1:])
