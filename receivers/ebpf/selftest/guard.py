# SPDX-License-Identifier: Apache-2.0
"""Removes a temporary folder whatever happens to this process: SIGKILL leaves it no time to do so itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_sidecar.pipeline.process.isolation import bare_python, start

# The pipe closes with its owner. A workload that is still running may create another file meanwhile.
_WAIT_AND_REMOVE = """
import os, shutil, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdout.write("w")
sys.stdout.flush()
sys.stdin.read()
for _ in range(100):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.lexists(sys.argv[1]):
        break
    time.sleep(0.1)
"""


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Remove ``folder`` when the context ends, in whatever way."""
    child = start(
        bare_python(_WAIT_AND_REMOVE, str(folder.absolute())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with child:  # closes its input at the end, and waits for it
        assert child.stdout is not None  # requested above
        child.stdout.read(1)  # from here on no signal stops it early
        yield
