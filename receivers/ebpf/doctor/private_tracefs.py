# SPDX-License-Identifier: Apache-2.0
"""tracefs for a look only: mounted by a child in a mount namespace of its own, so nobody else ever sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ....pipeline.isolation import python_code, start
from ..tracefs import PLACES, Tracefs, find_tracefs

_MOUNT = f"import {Tracefs.__module__} as tracefs\ntracefs.mount_tracefs()\nprint(flush=True)\nsys.stdin.read()\n"


@contextmanager
def mounted_elsewhere() -> Iterator[Tracefs | None]:
    """Meanwhile tracefs, seen through the root folder of the child that mounted it; None where that is refused."""
    try:
        child = start(python_code(_MOUNT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        yield None
        return
    with child:  # the end of its input ends it, and the mount with it
        assert child.stdout is not None
        mounted = child.stdout.readline()
        yield find_tracefs((_seen_by(child.pid),)) if mounted else None


def _seen_by(process: int) -> Path:
    return Path(f"/proc/{process}/root", *PLACES[0].parts[1:])
